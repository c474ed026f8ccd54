"""Control: the highest mean rating first, without regard to sources and styles."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from mmssr_jax.selection.base import Budget, Candidates, Selection
from mmssr_jax.selection.method import Needs, SelectionRun, Selector
from mmssr_jax.selection.picks import in_order
from mmssr_jax.selection.table import ScoreTable


@dataclasses.dataclass(frozen=True)
class RatingThresholdSelector(Selector):
    """By the mean of the scores that a sample has, which is the recorded score; samples without scores are skipped.

    Attributes:
      capabilities: columns of the scores; all if empty.
      minimum: only samples with at least this mean are selected.
    """

    capabilities: tuple[str, ...] = ()
    minimum: float = 0.0

    @property
    def needs(self) -> Needs:
        """See `Selector.needs`."""
        return Needs(scores=True)

    def mean_rating(self, table: ScoreTable) -> np.ndarray:
        """float64 [rows]: the mean of the available scores; NaN where there are none.

        Raises:
          UserError: a capability is not in the table.
        """
        total, count = np.zeros(len(table)), np.zeros(len(table))
        for name in self.capabilities or table.capabilities:
            column = table.column(name)
            total += np.nan_to_num(column)
            count += ~np.isnan(column)
        return np.divide(total, count, out=np.full(len(table), np.nan), where=count > 0)

    def select(self, candidates: Candidates, budgets: Sequence[Budget]) -> Selection:
        """See `Selector.select`."""
        mean = self.mean_rating(candidates.table)
        eligible = dataclasses.replace(candidates, allowed=candidates.allowed & (mean >= self.minimum))
        return in_order(eligible, budgets, np.lexsort((candidates.tie, -mean)), score=mean.astype(np.float32))

    def total_score(self, table: ScoreTable) -> np.ndarray:
        """float64 [rows]: the mean rating, 0 where there is none."""
        return np.nan_to_num(self.mean_rating(table))

    def why_not(self, run: SelectionRun, row: int) -> str:
        """See `Selector.why_not`."""
        mean = self.mean_rating(run.table)[row]
        if np.isnan(mean):
            return "it has no scores"
        if mean < self.minimum:
            return f"its mean rating of {mean:.4g} is below {self.minimum:g}"
        return f"its mean rating of {mean:.4g} was not among the highest"


METHOD = RatingThresholdSelector
