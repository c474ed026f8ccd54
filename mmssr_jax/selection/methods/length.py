"""The longest (or shortest) samples first: the rival that any learned score has to beat."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from mmssr_jax.core.errors import UserError
from mmssr_jax.selection.base import Budget, Candidates, Selection
from mmssr_jax.selection.methods.random import in_order


@dataclasses.dataclass(frozen=True)
class LengthSelector:
    """By `n_tokens`; the reason's score is that number.

    Attributes:
      longest_first: False begins with the shortest.
    """

    longest_first: bool = True

    def select(self, candidates: Candidates, budgets: Sequence[Budget]) -> Selection:
        """See `Selector.select`.

        Raises:
          UserError: the table has no token counts.
        """
        if candidates.table.n_tokens is None:
            raise UserError("the length method needs the scores' column n_tokens, which is not there or has gaps")
        length = candidates.table.n_tokens.astype(np.int64)
        order = np.lexsort((candidates.tie, -length if self.longest_first else length))
        return in_order(candidates, budgets, order, score=length.astype(np.float32))
