"""By votes of several features, each for its top share: the majority vote of ICONS, with defined ties.

ICONS (arXiv 2501.00654, princetonvisualai/icons) sorts by votes alone, so that its cut falls into a group of equal
votes and an unstable sort decides. Here equal votes are ordered by the features' mean rank; `methods/icons.py` is the
official rule.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from mmssr_jax.core.errors import UserError
from mmssr_jax.selection.base import Budget, Candidates, Selection
from mmssr_jax.selection.method import Needs, SelectionRun, Selector
from mmssr_jax.selection.picks import in_order


@dataclasses.dataclass(frozen=True)
class VotesSelector(Selector):
    """Most votes first, equal votes by the mean of the features' ranks, then by the tie keys.

    The features are a sample's influences on target tasks; each votes for the samples in its top share.
    The recorded score is the number of votes.

    Attributes:
      voters: the columns that vote; all if empty.
      top_share: the share of the candidates with a value that a column votes for.
    """

    voters: tuple[str, ...] = ()
    top_share: float = 0.1

    def __post_init__(self) -> None:
        if not 0 < self.top_share <= 1:
            raise ValueError(f"top_share is {self.top_share}; it must be above 0 and at most 1")

    @property
    def needs(self) -> Needs:
        """See `Selector.needs`."""
        return Needs(features=self.voters, target_data=True)

    def select(self, candidates: Candidates, budgets: Sequence[Budget]) -> Selection:
        """See `Selector.select`.

        Raises:
          UserError: there is no such feature, or none at all.
        """
        names = self.voters or tuple(candidates.table.features)
        if not names:
            raise UserError("the votes method needs feature tables; give their files as `features`")
        votes = np.zeros(len(candidates.table), np.int64)
        ranks = np.zeros(len(candidates.table))
        for name in names:
            value = candidates.table.number(name)
            rows = np.flatnonzero(candidates.allowed & ~np.isnan(value))
            ranked = rows[np.lexsort((candidates.tie[rows], -value[rows]))]
            votes[ranked[: int(np.ceil(self.top_share * len(rows)))]] += 1
            ranks[ranked] += np.arange(len(rows)) / max(len(rows), 1) - 1  # a missing value counts as the last rank
        order = np.lexsort((candidates.tie, ranks, -votes))
        return in_order(candidates, budgets, order, score=votes.astype(np.float32))

    def why_not(self, run: SelectionRun, row: int) -> str:
        """See `Selector.why_not`."""
        votes = run.selection.score[run.selection.round > 0]
        fewest = f"{votes.min():g}" if len(votes) else "no"
        return f"it has too few votes; what was taken has {fewest} or more"


METHOD = VotesSelector
