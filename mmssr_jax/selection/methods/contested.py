"""Control: the picks of another selection outside the cells that it took whole; the counterpart of `matched`."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from mmssr_jax.core.errors import UserError
from mmssr_jax.selection.base import Budget, Candidates, Selection
from mmssr_jax.selection.cells import cells, exhausted
from mmssr_jax.selection.method import Needs, SelectionRun, Selector
from mmssr_jax.selection.picks import in_order


@dataclasses.dataclass(frozen=True)
class ContestedSelector(Selector):
    """The reference selection's own picks, in its order, from the cells of which it left a candidate.

    Only there its scores chose. The method `matched` with `cells = "contested"` takes as many at random from the same
    cells; use the reference's budget and filters for both.

    Attributes:
      like: the folder of the reference selection under selections/.
      length_deciles: as in `matched`.
    """

    like: str
    length_deciles: bool = False

    def __post_init__(self) -> None:
        if not self.like:
            raise ValueError("the method contested needs like, the name of another selection")

    @property
    def needs(self) -> Needs:
        """See `Selector.needs`."""
        return Needs(styles=True, tokens=self.length_deciles, selection=self.like)

    def select(self, candidates: Candidates, budgets: Sequence[Budget]) -> Selection:
        """See `Selector.select`."""
        return in_order(candidates, budgets, self._picks(candidates))

    def _picks(self, candidates: Candidates) -> np.ndarray:
        """int64 [N], rows."""
        if candidates.reference is None:
            raise UserError("the method contested needs the picks of the selection that it is a part of")
        cell = cells(candidates.table, length_deciles=self.length_deciles)
        whole = exhausted(cell, candidates.reference, candidates.allowed)
        return candidates.reference[~whole[cell[candidates.reference]]]

    def why_not(self, run: SelectionRun, row: int) -> str:
        """See `Selector.why_not`."""
        reference = run.candidates.reference
        if reference is None or row not in reference:
            return f"{self.like} did not take it"
        if row not in self._picks(run.candidates):
            return f"{self.like} took every sample with its source and styles"
        return "the budget was met before it"


METHOD = ContestedSelector
