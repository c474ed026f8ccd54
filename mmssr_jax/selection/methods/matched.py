"""Control: random samples with the source and style counts of another selection.

It separates two explanations of a result, the scores and the re-mixed sources and styles: where another selection is no
better than its matched control, its scores do not help. Styles that the scorer predicted count as mixture.

Of a cell that the reference took whole, the control takes the same samples: the difference between the two is diluted
by their share. `cells = "contested"` leaves these cells out; the method `contested` does the same with the reference,
so that two models trained on these two show the result on the other cells.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np

from mmssr_jax.core.errors import UserError
from mmssr_jax.selection.base import Budget, Candidates, Selection
from mmssr_jax.selection.cells import cells, exhausted, random_order, rank_in_cell
from mmssr_jax.selection.method import Needs, SelectionRun, Selector
from mmssr_jax.selection.picks import in_order

_STREAM = 1001


@dataclasses.dataclass(frozen=True)
class MatchedSelector(Selector):
    """Random without replacement inside every cell, as many as the reference selection took there.

    A cell is a source and a whole set of styles. Use the budget and filters of the reference; a smaller budget takes a
    random subset. Required rows count for their cells. A budget of tokens is used up: where as many samples as in the
    reference leave tokens over, further ones follow in proportion to the reference's counts.

    Attributes:
      like: the folder of the reference selection under selections/.
      length_deciles: also divide the cells by deciles of the token count.
      cells: "contested": only cells of which the reference left a candidate; all by default.
    """

    like: str
    length_deciles: bool = False
    cells: Literal["contested"] | None = None

    def __post_init__(self) -> None:
        if not self.like:
            raise ValueError("the method matched needs like, the name of another selection")

    @property
    def needs(self) -> Needs:
        """See `Selector.needs`."""
        return Needs(styles=True, tokens=self.length_deciles, selection=self.like)

    def select(self, candidates: Candidates, budgets: Sequence[Budget]) -> Selection:
        """See `Selector.select`."""
        cell = cells(candidates.table, length_deciles=self.length_deciles)
        reference = _reference(candidates)
        quota = np.bincount(cell[reference], minlength=int(cell.max(initial=0)) + 1)
        if self.cells == "contested":
            quota[exhausted(cell, reference, candidates.allowed)] = 0
        quota -= np.bincount(cell[candidates.required], minlength=len(quota))
        free = candidates.allowed.copy()
        free[candidates.required] = False
        order = random_order(candidates, np.flatnonzero(free), stream=_STREAM)
        rank, wanted = rank_in_cell(cell, order), quota[cell[order]]
        further = np.flatnonzero((rank >= wanted) & (wanted > 0))
        further = order[further[np.argsort(rank[further] / wanted[further], kind="stable")]]
        fill = further if any(b.tokens is not None for b in budgets) else None
        return in_order(candidates, budgets, order[rank < wanted], fill=fill)

    def report(self, run: SelectionRun) -> Mapping[str, float]:
        """Overlap with the reference, and the share of picks from cells of which the reference took every candidate.

        Picks of exhausted cells are the same in both selections by construction; `contested_jaccard` is the overlap in
        the others.
        """
        reference, picks = _reference(run.candidates), run.selection.rows
        cell = cells(run.table, length_deciles=self.length_deciles)
        whole = exhausted(cell, reference, run.candidates.allowed)
        return {
            "jaccard": _jaccard(reference, picks),
            "exhausted_share": float(whole[cell[picks]].mean()) if len(picks) else 0.0,
            "contested_jaccard": _jaccard(reference[~whole[cell[reference]]], picks[~whole[cell[picks]]]),
        }

    def why_not(self, run: SelectionRun, row: int) -> str:
        """See `Selector.why_not`."""
        cell = run.once("cells", lambda: cells(run.table, length_deciles=self.length_deciles))
        same = cell == cell[row]
        quota, size = (
            np.count_nonzero(same[_reference(run.candidates)]),
            np.count_nonzero(same & run.candidates.allowed),
        )
        if not quota:
            return f"{self.like} took no sample with its source and styles"
        if self.cells == "contested" and quota >= size:
            return f"{self.like} took every sample with its source and styles"
        return f"it was not among the random {quota} of {size} samples with its source and styles"


def _jaccard(first: np.ndarray, second: np.ndarray) -> float:
    union = len(np.union1d(first, second))
    return len(np.intersect1d(first, second)) / union if union else 1.0


def _reference(candidates: Candidates) -> np.ndarray:
    if candidates.reference is None:
        raise UserError("the method matched needs the picks of the selection that it is matched with")
    return candidates.reference


METHOD = MatchedSelector
