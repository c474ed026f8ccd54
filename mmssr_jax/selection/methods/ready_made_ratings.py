"""Ratings that a data set comes with: samples whose ratings all reach a threshold.

Such as FineVision's `relevance_min`, `image_correspondence_min`, `visual_dependency_min` and `formatting_min`: the
lowest over the turns of a sample, 1 to 5. Its authors found every threshold worse than all data.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence
from typing import Literal

import numpy as np

from mmssr_jax.selection.base import Budget, Candidates, Selection
from mmssr_jax.selection.method import Needs, SelectionRun, Selector
from mmssr_jax.selection.methods.random import RandomSelector, place_in_random_order
from mmssr_jax.selection.methods.stratified import StratifiedSelector


@dataclasses.dataclass(frozen=True)
class ReadyMadeRatingsSelector(Selector):
    """Random samples among those with all ratings at or above a threshold. A missing rating is below it.

    Needs the ratings, whose raters may have seen the images; no target data. Text-only samples are ranked like all
    others where they have every rating, and skipped where one about the image is missing.

    Attributes:
      ratings: the columns.
      minimum: the threshold.
      balance: any sample, or the same number of every source as long as it lasts.
    """

    ratings: tuple[str, ...]
    minimum: float
    balance: Literal["none", "sources"] = "none"

    def __post_init__(self) -> None:
        if not self.ratings:
            raise ValueError("ratings is empty; name columns of the feature tables")

    @property
    def needs(self) -> Needs:
        """See `Selector.needs`."""
        return Needs(features=self.ratings, images=True)

    def _lowest(self, candidates: Candidates) -> np.ndarray:
        """float32 [rows]: the lowest rating; NaN where one is missing."""
        columns = (candidates.table.number(name) for name in self.ratings)
        return functools.reduce(np.minimum, columns)  # one at a time: `np.minimum.reduce` would copy all into a matrix

    def select(self, candidates: Candidates, budgets: Sequence[Budget]) -> Selection:
        """See `Selector.select`.

        Raises:
          UserError: there is no such feature.
        """
        allowed = candidates.allowed & (self._lowest(candidates) >= self.minimum)
        method = StratifiedSelector("equal") if self.balance == "sources" else RandomSelector()
        return method.select(dataclasses.replace(candidates, allowed=allowed), budgets)

    def why_not(self, run: SelectionRun, row: int) -> str:
        """See `Selector.why_not`."""
        lowest = self._lowest(run.candidates)
        if np.isnan(lowest[row]):
            return "one of its ratings is missing"
        if lowest[row] < self.minimum:
            return f"its lowest rating of {lowest[row]:g} is below {self.minimum:g}"
        among = run.candidates.allowed & (lowest >= self.minimum)
        if self.balance == "sources":
            among &= run.table.source == run.table.source[row]
        return place_in_random_order(run, row, among)


METHOD = ReadyMadeRatingsSelector
