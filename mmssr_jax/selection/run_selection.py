"""From a score table and one selection's settings to the picks: what the stage runs and `verify` runs again."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np

from mmssr_jax.selection.base import Budget, Excluded
from mmssr_jax.selection.candidates import build
from mmssr_jax.selection.config import SelectionConfig
from mmssr_jax.selection.method import SelectionRun
from mmssr_jax.selection.table import ScoreTable


def run_selection(
    table: ScoreTable,
    config: SelectionConfig,
    budget: Budget,
    *,
    pool_size: int,
    degenerate: Collection[str] = (),
    further: Excluded | None = None,
    reference: np.ndarray | None = None,
) -> SelectionRun:
    """Selects for one budget; where budgets are nested, for the smaller ones first.

    Args:
      table: the scores and features.
      config: the settings.
      budget: one of `config.all_budgets()`.
      pool_size: the number of samples of the whole pool, scored or not.
      degenerate: capabilities whose scores the scorer's evaluation calls degenerate.
      further: exclusions that need more than the settings, such as near-duplicates.
      reference: int64 [N], the rows of the selection that the method names as `Needs.selection`.

    Raises:
      UserError: the table does not fit the settings or the method, such as a constant or degenerate capability.
    """
    config.selector.check(table, degenerate)
    candidates, excluded = build(table, config, pool_size=pool_size, further=further, reference=reference)
    budgets: tuple[Budget, ...] = (budget,)
    if config.nested:
        growing = sorted(config.all_budgets(), key=lambda b: b.ratio or b.count or b.tokens or 0)
        budgets = tuple(growing[: growing.index(budget) + 1])
    return SelectionRun(config.selector, budgets, candidates, excluded, config.selector.select(candidates, budgets))
