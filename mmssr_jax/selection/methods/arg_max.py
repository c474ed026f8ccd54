"""Ablation: the rule of mmSSR on the most likely digit of each score instead of its expectation, as published.

The digits are the feature table that the score stage writes with `config.score.details`; give `features=("digits",)`.
"""

from __future__ import annotations

import dataclasses

from mmssr_jax.core.vocabulary import SLUGS
from mmssr_jax.selection.base import Candidates
from mmssr_jax.selection.method import Needs
from mmssr_jax.selection.methods._rescored import RescoredSelector
from mmssr_jax.selection.table import ScoreTable


@dataclasses.dataclass(frozen=True)
class ArgMaxSelector(RescoredSelector):
    """mmSSR with its settings on integer scores, where ties dominate."""

    @property
    def needs(self) -> Needs:
        """See `Selector.needs`."""
        return dataclasses.replace(super().needs, features=self.capabilities or SLUGS)

    def rescored(self, candidates: Candidates) -> ScoreTable:
        """See `RescoredSelector.rescored`."""
        table = candidates.table
        return dataclasses.replace(table, scores={name: table.number(name) for name in table.scores})


METHOD = ArgMaxSelector
