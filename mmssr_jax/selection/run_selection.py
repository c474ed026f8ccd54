"""From a score table and one selection's settings to the picks: what the stage runs and `verify` runs again."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection

import numpy as np

from mmssr_jax.core.errors import UserError
from mmssr_jax.selection.base import Budget, Candidates, Selection
from mmssr_jax.selection.candidates import Excluded, build
from mmssr_jax.selection.config import SelectionConfig
from mmssr_jax.selection.methods.mmssr import MmssrSelector
from mmssr_jax.selection.table import ScoreTable


@dataclasses.dataclass(frozen=True)
class SelectionRun:
    """A selection with all it was derived from.

    Attributes:
      config: the settings.
      budgets: the budgets that were met one after the other; only the last one's picks are the selection.
      candidates: what could be chosen.
      excluded: what could not, by reason.
      selection: the picks.
    """

    config: SelectionConfig
    budgets: tuple[Budget, ...]
    candidates: Candidates
    excluded: Excluded
    selection: Selection

    @property
    def table(self) -> ScoreTable:
        return self.candidates.table

    def again(self, table: ScoreTable) -> Selection:
        """The same selection from other scores of the same rows."""
        candidates = dataclasses.replace(self.candidates, table=table)
        return self.config.selector().select(candidates, self.budgets)


def run_selection(
    table: ScoreTable,
    config: SelectionConfig,
    budget: Budget,
    *,
    pool_size: int,
    degenerate: Collection[str] = (),
    further: Excluded | None = None,
) -> SelectionRun:
    """Selects for one budget; where the budgets are nested, for the smaller ones first.

    Args:
      table: the scores.
      config: the settings.
      budget: one of `config.all_budgets()`.
      pool_size: samples of the whole pool, scored or not.
      degenerate: capabilities whose scores are known to say nothing.
      further: rows that are ruled out by more than the settings, such as near-duplicates.

    Raises:
      UserError: a capability that takes part is degenerate, constant or empty, or the settings do not fit the table.
    """
    if config.method == "mmssr":
        check_informative(table, config, degenerate)
    candidates, excluded = build(table, config, pool_size=pool_size, further=further)
    budgets: tuple[Budget, ...] = (budget,)
    if config.nested:
        growing = sorted(config.all_budgets(), key=lambda b: b.ratio or b.count or b.tokens or 0)
        budgets = tuple(growing[: growing.index(budget) + 1])
    return SelectionRun(config, budgets, candidates, excluded, config.selector().select(candidates, budgets))


def check_informative(table: ScoreTable, config: SelectionConfig, degenerate: Collection[str]) -> None:
    """Refuses capabilities whose scores cannot tell one sample from another.

    Raises:
      UserError: naming the capability.
    """
    mend = "score again with a better scorer, or leave it out of the selection's capabilities"
    for name in MmssrSelector(config.capabilities, weights=config.weights).weighted(table.capabilities):
        if name in degenerate:
            raise UserError(f"the scores of {name} are degenerate (results/scorer.json); {mend}")
        column = table.column(name)
        lowest, highest = np.fmin.reduce(column, initial=np.nan), np.fmax.reduce(column, initial=np.nan)
        if np.isnan(lowest):
            raise UserError(f"the scores of {name} are all missing; {mend}")
        if len(column) > 1 and lowest == highest:
            raise UserError(f"the scores of {name} are all {lowest:g}; {mend}")
