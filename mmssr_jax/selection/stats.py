"""Counts of a selection, for the manifest, the log and the report."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from mmssr_jax.selection.method import SelectionRun
from mmssr_jax.selection.table import ScoreTable


def counts(run: SelectionRun) -> dict[str, Any]:
    """The counts that the manifest records."""
    selection, candidates, table = run.selection, run.candidates, run.table
    wanted = run.budgets[-1].samples(candidates.pool_size)
    rows = selection.rows
    result: dict[str, Any] = {"pool": candidates.pool_size, "scored": len(table), "selected": len(selection)}
    if wanted is not None and len(selection) < wanted:
        result["short"] = wanted - len(selection)
    if table.n_tokens is not None:
        result["tokens"] = int(table.n_tokens[rows].sum(dtype=np.int64))
    if len(selection):
        result["rounds"] = int(selection.round.max())
    result["per_source"] = _by_name(table.source[rows], table.source_names)
    result["per_style"] = style_counts(table, rows)
    result["per_capability"] = _by_name(selection.capability, selection.capability_names)
    few = below_half_share(result["per_capability"], run.selector.shares(table))
    if few:
        result["below_half_share"] = few
    result["no_candidates"] = run.excluded.counts()
    result["no_style"] = int(np.count_nonzero((table.styles < 0).all(axis=1))) if table.style_names else 0
    report = run.selector.report(run)
    if report:
        result["method"] = dict(report)
    return result


def below_half_share(picks: Mapping[str, int], shares: Mapping[str, float]) -> dict[str, int]:
    """The capabilities with less than half of their fair share of the picks, with their picks.

    Args:
      picks: number of picks by capability, without zeros.
      shares: by capability, the share of the picks that it would get if all had enough candidates.
    """
    total = sum(picks.values())
    return {name: picks.get(name, 0) for name, share in shares.items() if picks.get(name, 0) < share * total / 2}


def style_counts(table: ScoreTable, rows: np.ndarray) -> Mapping[str, int]:
    """How many of `rows` (int64 [N]) have each style, in any slot."""
    codes = table.styles[rows].ravel()
    return _by_name(codes, table.style_names)


def _by_name(codes: np.ndarray, names: tuple[str, ...]) -> dict[str, int]:
    """Counts of the codes by name, without zeros; -1 is not counted."""
    count = np.bincount(codes[codes >= 0], minlength=len(names))
    return {name: int(n) for name, n in zip(names, count, strict=True) if n}
