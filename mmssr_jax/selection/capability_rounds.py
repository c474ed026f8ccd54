"""The rounds of mmSSR's rule: who chooses, how much, from which group."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction

import numpy as np

from mmssr_jax.selection.base import Budget, Candidates, Selection
from mmssr_jax.selection.groups import CapabilityLists, Groups
from mmssr_jax.selection.picks import Picks


class Rounds:
    """The state of one selection by the rule of mmSSR; see `selection.methods.mmssr`.

    Args:
      candidates: the rows to choose from.
      weights: capability -> relative share, above 0, in the order in which they choose.
      thresholds: capability -> the score that eligible rows exceed.
      order: capability -> float32 [rows], what its lists are sorted by, above the threshold where the scores are.
      cap_takes: whether a group's debt is capped by the share.
    """

    def __init__(
        self,
        candidates: Candidates,
        weights: Mapping[str, Fraction],
        thresholds: Mapping[str, float],
        order: Mapping[str, np.ndarray],
        *,
        cap_takes: bool,
    ):
        self._cap_takes, self._weights = cap_takes, weights
        self._active = list(weights)
        self._groups = Groups(candidates.table, candidates.allowed)
        self._picks = Picks(candidates)
        self._scores = {name: candidates.table.column(name) for name in weights}
        self._lists = {
            name: CapabilityLists(self._groups, order[name], thresholds[name], candidates.tie, self._picks.taken)
            for name in weights
        }
        self._round = 0

    def until(self, budgets: Sequence[Budget]) -> Selection:
        """Selects until each budget, one after the other, is met or no candidate is left."""
        ends = []
        for budget in budgets:
            self._release(self._picks.begin(budget))
            while self._picks.left() > 0 and self._active:
                self._choose_round()
            ends.append(len(self._picks))
        return self._picks.selection(
            ends=tuple(ends), capability_names=tuple(self._weights), group_names=self._groups.names
        )

    def _choose_round(self) -> None:
        """Each capability chooses its share once."""
        self._round += 1
        left, total = self._picks.left(), sum(self._weights[name] for name in self._active)
        exhausted = []
        for name in self._active:
            share = max(int(left * self._weights[name] / total), 1)
            rows, groups = self._choose(self._lists[name], min(share, self._picks.left()))
            if len(rows):
                self._add(name, rows, groups)
            else:
                exhausted.append(name)
            if self._picks.left() <= 0:
                break
        self._active = [name for name in self._active if name not in exhausted]

    def _choose(self, lists: CapabilityLists, share: int) -> tuple[np.ndarray, np.ndarray]:
        """The official choice of one share: the rows and their groups; empty if no row is left."""
        room = None if self._picks.room is None else self._picks.room.copy()
        live = np.flatnonzero(lists.sizes > 0 if room is None else (lists.sizes > 0) & (room[self._groups.source] > 0))
        smallest_first = live[np.argsort(lists.sizes[live], kind="stable")].tolist()
        quota, debt, taken = max(share // max(len(live), 1), 1), 0, 0
        chosen, chosen_groups = [np.zeros(0, np.int64)], []
        for group in smallest_first:
            if taken >= share:
                break
            wanted = quota + debt
            most = min(wanted, share - taken) if self._cap_takes else wanted
            if room is not None:
                most = min(most, int(room[self._groups.source[group]]))
            rows = lists.first(group, most)
            self._picks.taken[rows] = True
            debt = wanted - len(rows)
            taken += len(rows)
            if room is not None:
                room[self._groups.source[group]] -= len(rows)
            chosen.append(rows)
            chosen_groups.append((group, len(rows)))
        numbers, counts = np.array(chosen_groups, np.int64).reshape(-1, 2).T
        return np.concatenate(chosen), np.repeat(numbers, counts)

    def _add(self, name: str, rows: np.ndarray, groups: np.ndarray) -> None:
        """Adds one capability's choice to the picks, as far as the token budget allows."""
        fit = self._picks.affordable(rows)
        if fit < len(rows):
            self._picks.taken[rows[fit:]] = False
            self._lists[name].restart()
            rows, groups = rows[:fit], groups[:fit]
        too_long = self._picks.add(
            rows,
            capability=list(self._weights).index(name),
            group=groups,
            score=self._scores[name][rows],
            round_=self._round,
        )
        self._change_sizes(np.concatenate((rows, too_long)), -1)

    def _release(self, rows: np.ndarray) -> None:
        """Puts back rows that were too long for the previous budget."""
        if len(rows):
            self._change_sizes(rows, +1)
            self._active = list(self._weights)
            for lists in self._lists.values():
                lists.restart()

    def _change_sizes(self, rows: np.ndarray, by: int) -> None:
        groups = self._groups.of_rows(rows)
        for lists in self._lists.values():
            lists.change_sizes(rows, groups, by)
