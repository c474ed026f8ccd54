"""Control: random, with the sources in proportion to their sizes."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from mmssr_jax.selection.base import Budget, Candidates, Selection
from mmssr_jax.selection.method import SelectionRun, Selector
from mmssr_jax.selection.methods.stratified import StratifiedSelector


@dataclasses.dataclass(frozen=True)
class ProportionalSelector(Selector):
    """Random inside each source, the sources in proportion: the stratified method without its choice of shares."""

    def select(self, candidates: Candidates, budgets: Sequence[Budget]) -> Selection:
        """See `Selector.select`."""
        return StratifiedSelector("proportional").select(candidates, budgets)

    def why_not(self, run: SelectionRun, row: int) -> str:
        """See `Selector.why_not`."""
        return StratifiedSelector("proportional").why_not(run, row)


METHOD = ProportionalSelector
