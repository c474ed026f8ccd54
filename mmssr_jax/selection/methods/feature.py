"""By one number of each sample: a perplexity, a CLIP score, a product of qualities, whatever a table holds."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Literal

import numpy as np

from mmssr_jax.core.errors import UserError
from mmssr_jax.selection.base import Budget, Candidates, Selection
from mmssr_jax.selection.methods.random import in_order


@dataclasses.dataclass(frozen=True)
class FeatureSelector:
    """Candidates in the order of one feature; the reason's score is its value. A sample without a value is not chosen.

    Attributes:
      feature: the column of the feature tables.
      take: the highest values (CLIP score), the lowest, or the middle of the ranking ("PPL-mid": samples that are
        neither trivial nor noise; the band is as wide as the budget).
    """

    feature: str
    take: Literal["highest", "lowest", "middle"] = "highest"

    def select(self, candidates: Candidates, budgets: Sequence[Budget]) -> Selection:
        """See `Selector.select`.

        Raises:
          UserError: there is no such feature.
        """
        value = candidates.table.feature(self.feature).astype(np.float64)
        known = ~np.isnan(value)
        candidates = dataclasses.replace(candidates, allowed=candidates.allowed & known)
        order = np.lexsort((candidates.tie, -value if self.take == "highest" else value, ~candidates.allowed))
        if self.take == "middle":
            order = _from_the_middle(order, int(np.count_nonzero(candidates.allowed)))
        return in_order(candidates, budgets, order, score=value.astype(np.float32))


def _from_the_middle(order: np.ndarray, count: int) -> np.ndarray:
    """The first `count` of `order` from their middle outwards, below and above in turn; the others as they are."""
    distance = np.abs(2 * np.arange(count) - (count - 1))
    return np.concatenate([order[np.argsort(distance, kind="stable")], order[count:]])


@dataclasses.dataclass(frozen=True)
class VotesSelector:
    """By votes of several features, one a target task (ICONS, princetonvisualai/icons): each votes for its top share.

    The features are a sample's influences on the tasks; a sample has a vote of each task in whose top share it lies.
    Most votes first, equal votes by the mean of the influences' ranks, then by the tie keys; the reason's score is the
    number of votes.

    Attributes:
      features: the columns that vote; all of them where empty.
      top_share: of the candidates that have a value.
    """

    features: tuple[str, ...] = ()
    top_share: float = 0.1

    def __post_init__(self) -> None:
        if not 0 < self.top_share <= 1:
            raise ValueError(f"top_share is {self.top_share}; it must be above 0 and at most 1")

    def select(self, candidates: Candidates, budgets: Sequence[Budget]) -> Selection:
        """See `Selector.select`.

        Raises:
          UserError: there is no such feature, or none at all.
        """
        names = self.features or tuple(candidates.table.features)
        if not names:
            raise UserError("the votes method needs feature tables; give their files as `features`")
        votes = np.zeros(len(candidates.table), np.int64)
        ranks = np.zeros(len(candidates.table))
        for name in names:
            value = candidates.table.feature(name)
            rows = np.flatnonzero(candidates.allowed & ~np.isnan(value))
            ranked = rows[np.lexsort((candidates.tie[rows], -value[rows]))]
            votes[ranked[: int(np.ceil(self.top_share * len(rows)))]] += 1
            ranks[ranked] += np.arange(len(rows)) / max(len(rows), 1) - 1  # a missing value counts as the last place
        order = np.lexsort((candidates.tie, ranks, -votes))
        return in_order(candidates, budgets, order, score=votes.astype(np.float32))
