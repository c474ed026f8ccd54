"""What a selection turned out to be: counts for the manifest, the log and the report."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from mmssr_jax.selection.run_selection import SelectionRun
from mmssr_jax.selection.table import ScoreTable


def counts(derived: SelectionRun) -> dict[str, Any]:
    """Everything a reader of the manifest asks first."""
    selection, candidates, table = derived.selection, derived.candidates, derived.table
    wanted = derived.budgets[-1].samples(candidates.pool_size)
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
    result["no_candidates"] = derived.excluded.counts()
    result["no_style"] = int(np.count_nonzero((table.styles < 0).all(axis=1))) if table.style_names else 0
    return result


def style_counts(table: ScoreTable, rows: np.ndarray) -> Mapping[str, int]:
    """How many of the rows have each style, in any slot."""
    codes = table.styles[rows].ravel()
    return _by_name(codes, table.style_names)


def _by_name(codes: np.ndarray, names: tuple[str, ...]) -> dict[str, int]:
    """Counts of the codes that are there; -1 is not counted."""
    found = np.bincount(codes[codes >= 0], minlength=len(names))
    return {name: int(n) for name, n in zip(names, found, strict=True) if n}
