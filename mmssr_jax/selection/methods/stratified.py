"""Random within each source, the sources in fixed shares."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from mmssr_jax.selection.base import Budget, Candidates, Selection
from mmssr_jax.selection.methods.random import in_order


@dataclasses.dataclass(frozen=True)
class StratifiedSelector:
    """Every prefix of the picks holds the sources in their shares, up to one sample; the reason's group is the source.

    The r-th sample (r = 0, 1, ...) of a source of n allowed samples stands at (r + 1/2) / n of the order, so any
    cut of it holds each source in proportion (systematic sampling).

    Attributes:
      equal: the same number of every source as long as it lasts, instead of shares by size.
    """

    equal: bool = False

    def select(self, candidates: Candidates, budgets: Sequence[Budget]) -> Selection:
        """See `Selector.select`."""
        source = candidates.table.source
        counts = np.bincount(source[candidates.allowed], minlength=len(candidates.table.source_names))
        order = np.lexsort((candidates.tie, source, ~candidates.allowed))
        place = np.empty(len(order))
        allowed = order[: counts.sum()]
        rank = np.arange(len(allowed)) - np.repeat(np.cumsum(counts) - counts, counts)
        place[allowed] = rank if self.equal else (rank + 0.5) / counts[source[allowed]]
        place[order[len(allowed) :]] = np.inf
        names = candidates.table.source_names
        return in_order(candidates, budgets, np.lexsort((candidates.tie, place)), group=source, group_names=names)
