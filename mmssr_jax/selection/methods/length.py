"""The longest (or shortest) samples first: the baseline that any learned score has to beat."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Literal

import numpy as np

from mmssr_jax.core.errors import UserError
from mmssr_jax.selection.base import Budget, Candidates, Selection
from mmssr_jax.selection.method import Needs, SelectionRun, Selector
from mmssr_jax.selection.picks import in_order


@dataclasses.dataclass(frozen=True)
class LengthSelector(Selector):
    """By `n_tokens`, which is also the recorded score.

    Attributes:
      length: the end of the ranking to start from.
    """

    length: Literal["longest", "shortest"] = "longest"

    @property
    def needs(self) -> Needs:
        """See `Selector.needs`."""
        return Needs(tokens=True)

    def select(self, candidates: Candidates, budgets: Sequence[Budget]) -> Selection:
        """See `Selector.select`.

        Raises:
          UserError: the table has no token counts.
        """
        if candidates.table.n_tokens is None:
            raise UserError("the length method needs the scores' column n_tokens, which is missing or has nulls")
        length = candidates.table.n_tokens.astype(np.int64)
        order = np.lexsort((candidates.tie, -length if self.length == "longest" else length))
        return in_order(candidates, budgets, order, score=length.astype(np.float32))

    def why_not(self, run: SelectionRun, row: int) -> str:
        """See `Selector.why_not`."""
        return f"its {int(run.candidates.tokens()[row])} tokens were not among the {self.length}"


METHOD = LengthSelector
