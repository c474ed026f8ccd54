"""CLIP score: samples by the similarity of image and text.

DataComp (mlfoundations/datacomp, 4a8df19) keeps every row at or above the value at place int(N * fraction) of the
descending order, so one row more than the fraction, and more with ties. A selection never exceeds its budget, so by
default the method takes the highest scores instead; `datacomp` adds that threshold, and with a budget that is not
reached the selection is DataComp's set.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from mmssr_jax.selection.base import Budget, Candidates, Selection
from mmssr_jax.selection.eligible import eligible_rows
from mmssr_jax.selection.method import Needs, SelectionRun, Selector
from mmssr_jax.selection.picks import in_order


def datacomp_threshold(score: np.ndarray, fraction: float) -> float:
    """The score at place int(N * fraction) of the descending order.

    Args:
      score: float [N]; NaN = no score: counted in N and ordered last, so that the threshold may be NaN.
      fraction: of N, at least 0 and below 1.

    Raises:
      ValueError: the fraction is out of range, or there are no rows; at 1 the official program has no such place.
    """
    if not len(score):
        raise ValueError("there are no scores to take a threshold from")
    if not 0 <= fraction < 1:
        raise ValueError(f"fraction is {fraction:g}; it must be at least 0 and below 1")
    return float(-np.sort(-score)[int(len(score) * fraction)])


def at_least(score: np.ndarray, threshold: float) -> np.ndarray:
    """int64 [kept]: the rows of `score` (float [N]) that reach the threshold; NaN never does."""
    return np.flatnonzero(score >= threshold)


@dataclasses.dataclass(frozen=True)
class ClipScoreSelector(Selector):
    """The highest similarity first, which is the recorded score.

    Needs one similarity of images and text a sample; no target data. Text-only samples have none and are skipped.

    Attributes:
      feature: the column with the similarity.
      minimum: only samples with at least this similarity are selected; None for all.
      datacomp: only samples that DataComp keeps at this fraction of the candidates; None for all.
    """

    feature: str = "similarity"
    minimum: float | None = None
    datacomp: float | None = None

    def __post_init__(self) -> None:
        if self.datacomp is not None and not 0 <= self.datacomp < 1:
            raise ValueError(f"datacomp is {self.datacomp:g}; it must be at least 0 and below 1")

    @property
    def needs(self) -> Needs:
        """See `Selector.needs`."""
        return Needs(features=(self.feature,), images=True, text_only="skipped")

    def _threshold(self, candidates: Candidates) -> float:
        """The lowest similarity that may be selected; NaN where DataComp keeps nothing."""
        minimum = -np.inf if self.minimum is None else self.minimum
        score = candidates.table.number(self.feature)[candidates.allowed]
        if self.datacomp is None or not len(score):
            return minimum
        return float(np.maximum(minimum, datacomp_threshold(score, self.datacomp)))

    def select(self, candidates: Candidates, budgets: Sequence[Budget]) -> Selection:
        """See `Selector.select`.

        Raises:
          UserError: there is no such feature.
        """
        score = candidates.table.number(self.feature)
        rows = eligible_rows(candidates, score)
        rows = rows[at_least(score[rows], self._threshold(candidates))]
        return in_order(candidates, budgets, rows[np.argsort(-score[rows], kind="stable")], score=score)

    def why_not(self, run: SelectionRun, row: int) -> str:
        """See `Selector.why_not`."""
        score = run.table.number(self.feature)[row]
        if np.isnan(score):
            return f"it has no {self.feature}"
        threshold = self._threshold(run.candidates)
        if not score >= threshold:
            return f"its {self.feature} of {score:.4g} is below {threshold:g}"
        return f"its {self.feature} of {score:.4g} was not among the highest"


METHOD = ClipScoreSelector
