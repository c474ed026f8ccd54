"""mmSSR: capability by capability, style by style, the best scores first (arXiv 2503.13383).

    repeat until the budget is met                                          "round"
        for each capability, in the order given                             its share: what is left / capabilities
            for each group "style+source", smallest first                   its quota: share / groups, plus the debt
                take the best-scored rows that nobody has taken             what it cannot fill is debt for the next
        a capability that has no row left drops out

Equal to the official program wherever that is defined (tests/selection runs its goldens). Where it is not: a share
is never exceeded (`cap_takes=False` gives the official overshoot), an exhausted capability drops out, equal scores
fall by `Candidates.tie`, equally large groups by name, and the capabilities keep the order given.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from fractions import Fraction

import numpy as np

from mmssr_jax.core.errors import UserError
from mmssr_jax.selection.base import Budget, Candidates, Selection
from mmssr_jax.selection.groups import CapabilityLists, Groups
from mmssr_jax.selection.picks import Picks


@dataclasses.dataclass(frozen=True)
class MmssrSelector:
    """Settings of mmSSR.

    Attributes:
      capabilities: columns of the scores, in the order in which they choose; all where empty.
      threshold: only scores above it (strictly) are eligible. For expected scores 0.5 plays the part of the official
        integer 0: what rounds to 0 is not eligible. For integer scores the two are the same.
      thresholds: other thresholds for some capabilities.
      weights: how a capability's share compares with the others'; 1 where not given, 0 switches it off.
      cap_takes: whether a group's debt stops at the share. False reproduces the official program, which may choose
        more than the budget.
    """

    capabilities: tuple[str, ...] = ()
    threshold: float = 0.5
    thresholds: Mapping[str, float] = dataclasses.field(default_factory=dict)
    weights: Mapping[str, float] = dataclasses.field(default_factory=dict)
    cap_takes: bool = True

    def select(self, candidates: Candidates, budgets: Sequence[Budget]) -> Selection:
        """See `Selector.select`.

        Raises:
          UserError: a capability that the table does not have or that is named twice, a weight below 0.
        """
        return _Run(self, candidates).until(budgets)

    def threshold_of(self, capability: str) -> float:
        """What a score of this capability has to exceed."""
        return self.thresholds.get(capability, self.threshold)

    def weighted(self, known: Sequence[str]) -> dict[str, Fraction]:
        """The capabilities that take part, in order, with their weights."""
        chosen = self.capabilities or tuple(known)
        for name in (*chosen, *self.thresholds, *self.weights):
            if name not in known:
                raise UserError(f"the scores have no capability {name!r}; they have {', '.join(known)}")
        if len(set(chosen)) < len(chosen):
            raise UserError(f"a capability is named twice in {', '.join(chosen)}")
        weights = {name: Fraction(str(self.weights.get(name, 1))) for name in chosen}
        if min(weights.values(), default=Fraction(0)) < 0:
            raise UserError("a capability's weight is below 0; use 0 to switch it off")
        if not any(weights.values()):
            raise UserError("no capability has a weight above 0, so nothing can be selected")
        return {name: weight for name, weight in weights.items() if weight}


class _Run:
    """One selection under way."""

    def __init__(self, settings: MmssrSelector, candidates: Candidates):
        self._cap_takes = settings.cap_takes
        self._weights = settings.weighted(candidates.table.capabilities)
        self._active = list(self._weights)
        self._groups = Groups(candidates.table, candidates.allowed)
        self._picks = Picks(candidates)
        self._scores = {name: candidates.table.column(name) for name in self._weights}
        self._lists = {
            name: CapabilityLists(
                self._groups,
                self._scores[name],
                settings.threshold_of(name),
                candidates.tie,
                self._picks.taken,
            )
            for name in self._weights
        }
        self._round = 0

    def until(self, budgets: Sequence[Budget]) -> Selection:
        """Goes on until each budget in turn is met or nothing is left."""
        ends = []
        for budget in budgets:
            self._set_free(self._picks.begin(budget))
            while self._picks.left() > 0 and self._active:
                self._choose_round()
            ends.append(len(self._picks))
        return self._picks.selection(
            ends=tuple(ends), capability_names=tuple(self._weights), group_names=self._groups.names
        )

    def _choose_round(self) -> None:
        """Lets each capability choose its share once."""
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
        """The official choice of one share: the rows and the group of each; none when none is left."""
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
        """Books one capability's choice, as far as a budget of tokens pays for it."""
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

    def _set_free(self, rows: np.ndarray) -> None:
        """Gives back rows that were too long for the budget before."""
        if len(rows):
            self._change_sizes(rows, +1)
            self._active = list(self._weights)
            for lists in self._lists.values():
                lists.restart()

    def _change_sizes(self, rows: np.ndarray, by: int) -> None:
        groups = self._groups.of_rows(rows)
        for lists in self._lists.values():
            lists.change_sizes(rows, groups, by)
