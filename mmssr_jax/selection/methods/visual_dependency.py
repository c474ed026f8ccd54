"""Visual dependency: how much the image lowers the loss of the answer.

The gap is that of GDO (arXiv 2603.12478, rujiewu/GDO 4a82ccf): loss without the image minus loss with it. Selecting by
the gap alone is a rule of this package; GDO mixes it into other scores.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Literal

import numpy as np

from mmssr_jax.selection.base import Budget, Candidates, Selection
from mmssr_jax.selection.eligible import eligible_rows
from mmssr_jax.selection.method import Needs, SelectionRun, Selector
from mmssr_jax.selection.picks import in_order


@dataclasses.dataclass(frozen=True)
class VisualDependencySelector(Selector):
    """The largest gap first, which is the recorded score. Samples without both losses are skipped.

    Needs the loss with and without the images; no target data. Text-only samples have a gap of 0: the default minimum
    skips them.

    Attributes:
      loss, blind_loss: the columns with the loss with and without the image (feature kind `likelihood`).
      minimum: only samples with a larger gap are selected; 0 drops those whose image does not help.
    """

    loss: str = "nll"
    blind_loss: str = "nll_blind"
    minimum: float = 0.0

    @property
    def needs(self) -> Needs:
        """See `Selector.needs`."""
        text_only: Literal["skipped", "ranked"] = "skipped" if self.minimum >= 0 else "ranked"
        return Needs(features=(self.loss, self.blind_loss), images=True, text_only=text_only)

    def _gap(self, candidates: Candidates) -> np.ndarray:
        """float64 [rows]."""
        return candidates.table.number(self.blind_loss).astype(np.float64) - candidates.table.number(self.loss)

    def select(self, candidates: Candidates, budgets: Sequence[Budget]) -> Selection:
        """See `Selector.select`.

        Raises:
          UserError: there is no such feature.
        """
        gap = self._gap(candidates)
        rows = eligible_rows(candidates, gap)
        rows = rows[gap[rows] > self.minimum]
        return in_order(candidates, budgets, rows[np.argsort(-gap[rows], kind="stable")], score=gap.astype(np.float32))

    def why_not(self, run: SelectionRun, row: int) -> str:
        """See `Selector.why_not`."""
        gap = self._gap(run.candidates)[row]
        if np.isnan(gap):
            return f"it has no {self.loss} or no {self.blind_loss}"
        if gap <= self.minimum:
            return f"its visual gap of {gap:.4g} is not above {self.minimum:g}"
        return f"its visual gap of {gap:.4g} was not among the largest"


METHOD = VisualDependencySelector
