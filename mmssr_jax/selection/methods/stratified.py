"""Random within each source, the sources in fixed shares."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Literal

import numpy as np

from mmssr_jax.selection.base import Budget, Candidates, Selection
from mmssr_jax.selection.method import SelectionRun, Selector
from mmssr_jax.selection.methods.random import place_in_random_order
from mmssr_jax.selection.picks import in_order


@dataclasses.dataclass(frozen=True)
class StratifiedSelector(Selector):
    """Every prefix of the picks contains the sources in their shares, up to one sample; the group is the source.

    The r-th sample (r = 0, 1, ...) of a source of n allowed samples is at (r + 1/2) / n of the order, so any
    cut of it contains each source in proportion (systematic sampling).

    Attributes:
      stratified: shares of the sources by size, or the same number of each as long as it lasts.
    """

    stratified: Literal["proportional", "equal"] = "proportional"

    def select(self, candidates: Candidates, budgets: Sequence[Budget]) -> Selection:
        """See `Selector.select`."""
        source = candidates.table.source
        counts = np.bincount(source[candidates.allowed], minlength=len(candidates.table.source_names))
        order = np.lexsort((candidates.random_keys, source, ~candidates.allowed))
        place = np.empty(len(order))
        allowed = order[: counts.sum()]
        rank = np.arange(len(allowed)) - np.repeat(np.cumsum(counts) - counts, counts)
        place[allowed] = rank if self.stratified == "equal" else (rank + 0.5) / counts[source[allowed]]
        place[order[len(allowed) :]] = np.inf
        names = candidates.table.source_names
        order = np.lexsort((candidates.random_keys, place))
        return in_order(candidates, budgets, order, group=source, group_names=names)

    def why_not(self, run: SelectionRun, row: int) -> str:
        """See `Selector.why_not`."""
        same_source = run.table.source == run.table.source[row]
        return place_in_random_order(run, row, run.candidates.allowed & same_source)


METHOD = StratifiedSelector
