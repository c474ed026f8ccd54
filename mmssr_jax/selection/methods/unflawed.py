"""Control: random samples of a synthetic pool of which none is flawed, what a perfect filter would leave to chance."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from mmssr_jax.selection.base import Budget, Candidates, Selection
from mmssr_jax.selection.method import Needs, SelectionRun, Selector
from mmssr_jax.selection.methods.random import place_in_random_order
from mmssr_jax.selection.picks import in_order
from mmssr_jax.selection.table import ScoreTable

_FLAWED = 1  # the rubric's cap: no true score of a flawed sample is higher, and one of every other sample is


@dataclasses.dataclass(frozen=True)
class UnflawedSelector(Selector):
    """Uniformly random without replacement among the samples with a true score above the rubric's cap for flaws."""

    @property
    def needs(self) -> Needs:
        """See `Selector.needs`."""
        return Needs(truth=True)

    def select(self, candidates: Candidates, budgets: Sequence[Budget]) -> Selection:
        """See `Selector.select`."""
        eligible = dataclasses.replace(candidates, allowed=candidates.allowed & _unflawed(candidates.table))
        return in_order(eligible, budgets, np.argsort(candidates.random_keys))

    def why_not(self, run: SelectionRun, row: int) -> str:
        """See `Selector.why_not`."""
        unflawed = _unflawed(run.candidates.table)
        if not unflawed[row]:
            return f"it is flawed: no true score is above {_FLAWED}"
        return place_in_random_order(run, row, run.candidates.allowed & unflawed)


def _unflawed(table: ScoreTable) -> np.ndarray:
    """Which rows are not flawed, bool [rows]."""
    best = np.zeros(len(table))
    for name in table.capabilities:
        best = np.fmax(best, table.column(name))
    return best > _FLAWED


METHOD = UnflawedSelector
