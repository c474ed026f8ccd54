"""Ablation: the rule of mmSSR with groups of styles alone, of sources alone, or without groups."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Literal

import numpy as np

from mmssr_jax.core.errors import UserError
from mmssr_jax.selection.base import Budget, Candidates, Selection
from mmssr_jax.selection.methods._rescored import RescoredSelector
from mmssr_jax.selection.table import ScoreTable

_ALL = ("all",)


@dataclasses.dataclass(frozen=True)
class RegroupedSelector(RescoredSelector):
    """mmSSR with its settings, on a table in which all samples have one style, one source, or both.

    A sample without a style stays without one, so that the candidates are those of mmSSR.

    Attributes:
      groups: what a group is: "styles", "sources", or "none" for one group of all.
    """

    groups: Literal["styles", "sources", "none"] = "none"

    def rescored(self, candidates: Candidates) -> ScoreTable:
        """See `RescoredSelector.rescored`; the scores stay."""
        table = candidates.table
        if self.groups != "styles":
            styled = (table.styles >= 0).any(axis=1)
            styles = np.where(styled, 0, -1).astype(table.styles.dtype)[:, None]
            table = dataclasses.replace(table, styles=styles, style_names=_ALL)
        if self.groups != "sources":
            table = dataclasses.replace(table, source=np.zeros_like(table.source), source_names=_ALL)
        return table

    def select(self, candidates: Candidates, budgets: Sequence[Budget]) -> Selection:
        """See `Selector.select`.

        Raises:
          UserError: sources are capped, but are not told apart.
        """
        if candidates.source_caps is not None and self.groups != "sources":
            raise UserError(
                f"the method regrouped with groups={self.groups} does not use sources, so it cannot cap them"
            )
        return super().select(candidates, budgets)


METHOD = RegroupedSelector
