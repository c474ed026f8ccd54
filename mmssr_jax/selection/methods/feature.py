"""By one number of each sample: a perplexity, a CLIP score, a product of qualities, or any column of a table."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Literal

import numpy as np

from mmssr_jax.selection.base import Budget, Candidates, Selection
from mmssr_jax.selection.method import Needs, SelectionRun, Selector
from mmssr_jax.selection.picks import in_order


@dataclasses.dataclass(frozen=True)
class FeatureSelector(Selector):
    """Candidates in the order of one feature, whose value is the recorded score. Samples without a value are skipped.

    Attributes:
      feature: the column of the feature tables.
      take: the highest values (CLIP score), the lowest, or the middle of the ranking: from the median outwards
        (samples that are neither trivial nor noise), as many as the budget allows.
    """

    feature: str
    take: Literal["highest", "lowest", "middle"] = "highest"

    def __post_init__(self) -> None:
        if not self.feature:
            raise ValueError("the method feature needs feature, the name of a column of the feature tables")

    @property
    def needs(self) -> Needs:
        """See `Selector.needs`."""
        return Needs(features=(self.feature,))

    def select(self, candidates: Candidates, budgets: Sequence[Budget]) -> Selection:
        """See `Selector.select`.

        Raises:
          UserError: there is no such feature, or it is a vector.
        """
        value = candidates.table.number(self.feature).astype(np.float64)
        known = ~np.isnan(value)
        candidates = dataclasses.replace(candidates, allowed=candidates.allowed & known)
        order = np.lexsort((candidates.tie, -value if self.take == "highest" else value, ~candidates.allowed))
        if self.take == "middle":
            order = _from_the_middle(order, int(np.count_nonzero(candidates.allowed)))
        return in_order(candidates, budgets, order, score=value.astype(np.float32))

    def why_not(self, run: SelectionRun, row: int) -> str:
        """See `Selector.why_not`."""
        value = run.table.number(self.feature)[row]
        if np.isnan(value):
            return f"it has no {self.feature}"
        return f"its {self.feature} of {value:.4g} was not among the {self.take}"


def _from_the_middle(order: np.ndarray, count: int) -> np.ndarray:
    """The first `count` of `order` from their middle outwards, alternating sides; the others unchanged."""
    distance = np.abs(2 * np.arange(count) - (count - 1))
    return np.concatenate([order[np.argsort(distance, kind="stable")], order[count:]])


METHOD = FeatureSelector
