"""Control: the rule of mmSSR on 5 - score, so that the worst samples come first."""

from __future__ import annotations

import dataclasses

from mmssr_jax.core.vocabulary import MAX_SCORE
from mmssr_jax.selection.base import Candidates
from mmssr_jax.selection.methods._rescored import RescoredSelector
from mmssr_jax.selection.table import ScoreTable


@dataclasses.dataclass(frozen=True)
class ReversedSelector(RescoredSelector):
    """mmSSR with the same settings, such as the threshold, on 5 - score; missing scores stay missing."""

    def rescored(self, candidates: Candidates) -> ScoreTable:
        """See `RescoredSelector.rescored`."""
        table = candidates.table
        return dataclasses.replace(table, scores={name: MAX_SCORE - column for name, column in table.scores.items()})


METHOD = ReversedSelector
