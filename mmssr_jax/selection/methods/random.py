"""Uniformly random selection."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from mmssr_jax.selection.base import Budget, Candidates, Selection
from mmssr_jax.selection.method import SelectionRun, Selector
from mmssr_jax.selection.picks import in_order


@dataclasses.dataclass(frozen=True)
class RandomSelector(Selector):
    """Uniformly random without replacement: by seeded keys of the ids, so independent of the file order."""

    def select(self, candidates: Candidates, budgets: Sequence[Budget]) -> Selection:
        """See `Selector.select`."""
        return in_order(candidates, budgets, np.argsort(candidates.random_keys))  # all different

    def why_not(self, run: SelectionRun, row: int) -> str:
        """See `Selector.why_not`."""
        return place_in_random_order(run, row, run.candidates.allowed)


def place_in_random_order(run: SelectionRun, row: int, among: np.ndarray) -> str:
    """The place of a row among some rows (bool [rows]) in the random order, as an explanation."""
    keys = run.candidates.random_keys
    place = int(np.count_nonzero(keys[among] < keys[row])) + 1
    taken = int(np.count_nonzero(among[run.selection.rows]))
    return f"place {place} in the random order, of which {taken} were taken"


METHOD = RandomSelector
