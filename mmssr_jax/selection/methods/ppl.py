"""Perplexity: samples by the mean loss of a model on them.

The middle window is that of hamishivi/automated-instruction-selection (df71a04), after CCDS (arXiv 2410.16208): it
begins at 33 % of the descending order, whatever the budget, and is not centred. That program's loss covers all tokens,
question and template included; the feature kind `likelihood` covers the answers.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Literal

import numpy as np

from mmssr_jax.selection.base import Budget, Candidates, Selection
from mmssr_jax.selection.eligible import eligible_rows
from mmssr_jax.selection.method import Needs, SelectionRun, Selector
from mmssr_jax.selection.methods.feature import FeatureSelector
from mmssr_jax.selection.picks import in_order


def loss_order(nll: np.ndarray) -> np.ndarray:
    """int64 [N]: rows by descending loss (float [N]), equal values in row order, NaN last."""
    return np.argsort(-nll, kind="stable")


def window(nll: np.ndarray, count: int, *, start: float = 0.33) -> np.ndarray:
    """int64 [<= count]: the rows from int(start * N) of `loss_order` on; fewer where the order ends.

    Args:
      nll: float [N].
      count: the number of rows.
      start: where the window begins, as a share of N.
    """
    begin = int(start * len(nll))
    return loss_order(nll)[begin : begin + count]


@dataclasses.dataclass(frozen=True)
class PerplexitySelector(Selector):
    """By the mean loss, which is the recorded score. Samples without a loss are skipped.

    Needs one loss per sample, from a model that receives the images; no target data. Text-only samples have a loss and
    are ranked like all others. The window may end before the budget is met; nothing fills it up.

    Attributes:
      feature: the column with the loss.
      take: the highest or the lowest losses, the middle from the median outwards, or the window from `start` on.
      start: where the window begins in the descending order, as a share of the candidates.
    """

    feature: str = "nll"
    take: Literal["highest", "lowest", "middle", "window"] = "window"
    start: float = 0.33

    def __post_init__(self) -> None:
        if not 0 <= self.start < 1:
            raise ValueError(f"start is {self.start:g}; it must be at least 0 and below 1")

    @property
    def needs(self) -> Needs:
        """See `Selector.needs`."""
        return Needs(features=(self.feature,), images=True)

    def select(self, candidates: Candidates, budgets: Sequence[Budget]) -> Selection:
        """See `Selector.select`.

        Raises:
          UserError: there is no such feature.
        """
        if self.take != "window":
            return FeatureSelector(self.feature, self.take).select(candidates, budgets)
        nll = candidates.table.number(self.feature)
        rows = eligible_rows(candidates, nll)
        return in_order(candidates, budgets, rows[window(nll[rows], len(rows), start=self.start)], score=nll)

    def why_not(self, run: SelectionRun, row: int) -> str:
        """See `Selector.why_not`."""
        nll = run.table.number(self.feature)[row]
        if np.isnan(nll):
            return f"it has no {self.feature}"
        where = f"in the window from {self.start:.0%} on" if self.take == "window" else f"among the {self.take}"
        return f"its {self.feature} of {nll:.4g} was not {where}"


METHOD = PerplexitySelector
