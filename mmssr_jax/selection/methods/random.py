"""The rivals that need no model: any order of the candidates, cut where the budget ends. Here: a seeded random one."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from mmssr_jax.selection.base import Budget, Candidates, Selection
from mmssr_jax.selection.picks import Picks


def in_order(
    candidates: Candidates,
    budgets: Sequence[Budget],
    order: np.ndarray,
    *,
    score: np.ndarray | None = None,
    group: np.ndarray | None = None,
    group_names: tuple[str, ...] = (),
) -> Selection:
    """Takes candidates in a given order, passing over what is not allowed, capped or too long for the rest.

    Args:
      candidates: the rows.
      budgets: of one kind, growing.
      order: int [rows], every row once.
      score: float32 [rows], the reason that goes into the selection; none where None.
      group: int32 [rows], codes into `group_names`; none where None.
      group_names: the groups' names.
    """
    picks = Picks(candidates)
    score = np.full(len(order), np.nan, np.float32) if score is None else score
    group = np.full(len(order), -1, np.int32) if group is None else group
    ends = []
    for budget in budgets:
        picks.begin(budget)
        while picks.left() > 0:
            rows = _uncapped(candidates, order[~picks.taken[order]], picks.room)[: picks.left()]
            if not len(rows):
                break
            rows = rows[: picks.affordable(rows)]  # of none, `add` puts those aside that are too long
            picks.taken[rows] = True
            picks.add(rows, capability=-1, group=group[rows], score=score[rows], round_=1)
        ends.append(len(picks))
    return picks.selection(ends=tuple(ends), group_names=group_names)


def _uncapped(candidates: Candidates, rows: np.ndarray, room: np.ndarray | None) -> np.ndarray:
    """The rows, in their order, that their source still has room for."""
    if room is None:
        return rows
    source = candidates.table.source[rows]
    by_source = np.argsort(source, kind="stable")
    counts = np.bincount(source, minlength=len(room))
    place = np.empty(len(rows), np.int64)
    place[by_source] = np.arange(len(rows)) - np.repeat(np.cumsum(counts) - counts, counts)
    return rows[place < room[source]]


@dataclasses.dataclass(frozen=True)
class RandomSelector:
    """Uniformly random without replacement: the order of the seeded tie keys, so it does not hang on file order."""

    def select(self, candidates: Candidates, budgets: Sequence[Budget]) -> Selection:
        """See `Selector.select`."""
        return in_order(candidates, budgets, np.argsort(candidates.tie, kind="stable"))
