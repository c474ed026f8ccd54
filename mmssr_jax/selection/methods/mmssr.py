"""mmSSR: capability by capability, style by style, the best scores first (arXiv 2503.13383).

    repeat until the budget is met                                          "round"
        for each capability, in the order given                             its share: budget left / capabilities
            for each group "style+source", smallest first                   its quota: share / groups, plus the debt
                take the best-scored rows that are not taken yet            what it cannot fill is debt for the next
        a capability without rows left drops out

Equal to the official program wherever that is defined (tests/selection runs its goldens). Where it is not: a share
is never exceeded (`cap_takes=False` gives the official overshoot), an exhausted capability drops out, equal scores
are ordered by `Candidates.tie`, equally large groups by name, and the capabilities keep the order given.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping, Sequence
from fractions import Fraction

import numpy as np

from mmssr_jax.core.errors import UserError
from mmssr_jax.selection.base import Budget, Candidates, Selection
from mmssr_jax.selection.groups import CapabilityLists, Groups
from mmssr_jax.selection.method import Needs, SelectionRun, Selector, Standing
from mmssr_jax.selection.needed_score import needed_score
from mmssr_jax.selection.picks import Picks
from mmssr_jax.selection.standings import standings_of
from mmssr_jax.selection.table import ScoreTable


@dataclasses.dataclass(frozen=True)
class MmssrSelector(Selector):
    """mmSSR.

    Attributes:
      capabilities: columns of the scores, in the order in which they choose; all if empty.
      threshold: only scores above it (strictly) are eligible. For expected scores, 0.5 corresponds to the official
        integer 0: what rounds to 0 is not eligible. For integer scores the two are the same.
      threshold_quantile: instead of `threshold`, for each capability the score at this quantile (the lower one between
        two) of all scored samples; of equal scores there, all are eligible, unless they are the lowest. The thresholds
        are logged and kept in the manifest.
      least_threshold: with `threshold_quantile`, no threshold is lower: of a capability that the judge hardly ever
        gave, the highest scores of a pool are noise too.
      thresholds: different thresholds for some capabilities.
      weights: relative shares of the capabilities; 1 where not given, 0 switches a capability off.
      cap_takes: whether a group's debt is capped by the share. False reproduces the official program, which may select
        more than the budget.
    """

    capabilities: tuple[str, ...] = ()
    threshold: float = 0.5
    threshold_quantile: float | None = None
    least_threshold: float | None = None
    thresholds: Mapping[str, float] = dataclasses.field(default_factory=dict)
    weights: Mapping[str, float] = dataclasses.field(default_factory=dict)
    cap_takes: bool = True

    def __post_init__(self) -> None:
        if self.threshold_quantile is not None and not 0 <= self.threshold_quantile < 1:
            raise ValueError(f"threshold_quantile is {self.threshold_quantile:g}; it must be at least 0 and below 1")
        if self.least_threshold is not None and self.threshold_quantile is None:
            raise ValueError("least_threshold bounds a threshold_quantile, which is not set; set threshold instead")

    @property
    def needs(self) -> Needs:
        """See `Selector.needs`."""
        return Needs(scores=True, styles=True)

    def check(self, table: ScoreTable, degenerate: Collection[str]) -> None:
        """Rejects capabilities whose scores cannot tell one sample from another; see `Selector.check`.

        Raises:
          UserError: names the capability.
        """
        advice = "score again with a better scorer, or leave it out of the selection's capabilities"
        for name in self.weighted(table.capabilities):
            if name in degenerate:
                raise UserError(f"the scores of {name} are degenerate (results/scorer.json); {advice}")
            column = table.column(name)
            lowest, highest = np.fmin.reduce(column, initial=np.nan), np.fmax.reduce(column, initial=np.nan)
            if np.isnan(lowest):
                raise UserError(f"the scores of {name} are all missing; {advice}")
            if len(column) > 1 and lowest == highest:
                raise UserError(f"the scores of {name} are all {lowest:g}; {advice}")

    def select(self, candidates: Candidates, budgets: Sequence[Budget]) -> Selection:
        """See `Selector.select`.

        Raises:
          UserError: a capability is not in the table or named twice, or a weight is below 0.
        """
        return _Run(self, candidates).until(budgets)

    def total_score(self, table: ScoreTable) -> np.ndarray:
        """float64 [rows]: the sum of the scores of the weighted capabilities, missing ones as 0."""
        total = np.zeros(len(table))
        for name in self.weighted(table.capabilities):
            total += np.nan_to_num(table.column(name))
        return total

    def standings(self, run: SelectionRun, row: int) -> tuple[Standing, ...]:
        """See `Selector.standings`."""
        return standings_of(run, row, self._thresholds_of(run))

    def needed_scores(self, run: SelectionRun, row: int) -> Mapping[str, float | None]:
        """See `Selector.needed_scores`; up to one further selection per capability, 32 under a token budget."""
        if not (run.table.styles[row] >= 0).any():
            return {}
        thresholds = self._thresholds_of(run)
        if self.threshold_quantile is not None:  # one other score must not move the thresholds of all
            fixed = dataclasses.replace(self, threshold_quantile=None, thresholds=thresholds)
            run = dataclasses.replace(run, selector=fixed)
        return {name: needed_score(run, row, name, threshold) for name, threshold in thresholds.items()}

    def why_not(self, run: SelectionRun, row: int) -> str:
        """See `Selector.why_not`."""
        if not (run.table.styles[row] >= 0).any():
            return "it has no style, so it is in no group"
        eligible = [s for s in self.standings(run, row) if s.rank is not None]
        if not eligible:
            return "no score of it is above the threshold"
        caps, source = run.candidates.source_caps, run.table.source[row]
        picked = int(np.count_nonzero(run.table.source[run.selection.rows] == source))
        if caps is not None and picked >= caps[source]:
            return f"the source {run.table.source_names[source]} has given the {picked} samples it may"
        nearest = min(eligible, key=lambda s: (s.rank or 0) - s.taken)
        if not nearest.taken:
            return f"no list of it gave a sample; it is rank {nearest.rank} in {nearest.group}"
        return (
            f"rank {nearest.rank} of {nearest.eligible} for {nearest.capability} in the group {nearest.group}, which "
            f"gave {nearest.taken} down to a score of {nearest.last_score:.4g}; it has {nearest.score:.4g}"
        )

    def shares(self, table: ScoreTable) -> Mapping[str, float]:
        """See `Selector.shares`: the weights."""
        weights = self.weighted(table.capabilities)
        return {name: float(weight / sum(weights.values())) for name, weight in weights.items()}

    def report(self, run: SelectionRun) -> Mapping[str, float]:
        """The thresholds, where they are quantiles; see `Selector.report`."""
        if self.threshold_quantile is None:
            return {}
        return {f"threshold {name}": value for name, value in self._weighted_thresholds(run.table).items()}

    def threshold_of(self, table: ScoreTable, capability: str) -> float:
        """The value that an eligible score of this capability exceeds."""
        if capability in self.thresholds or self.threshold_quantile is None:
            return self.thresholds.get(capability, self.threshold)
        column = table.column(capability)
        known = column[~np.isnan(column)]
        found = _below_share(known, self.threshold_quantile) if len(known) else self.threshold
        return found if self.least_threshold is None else max(found, self.least_threshold)

    def _thresholds_of(self, run: SelectionRun) -> dict[str, float]:
        return run.once("thresholds", lambda: self._weighted_thresholds(run.table))

    def _weighted_thresholds(self, table: ScoreTable) -> dict[str, float]:
        return {name: self.threshold_of(table, name) for name in self.weighted(table.capabilities)}

    def weighted(self, known: Sequence[str]) -> dict[str, Fraction]:
        """The capabilities with a weight above 0, in order, with their weights."""
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


def _below_share(scores: np.ndarray, quantile: float) -> float:
    """The threshold that leaves at least the share above a quantile of the scores [n], n > 0.

    Equal scores at the quantile would leave fewer above it, and none where they are the highest: then the next lower
    score is the threshold. If there is none, it is the lowest score, which most samples have of a rare capability.
    """
    place = int(quantile * (len(scores) - 1))
    found = np.partition(scores, place)[place]
    lower = scores[scores < found]
    if len(lower) and np.count_nonzero(scores > found) < len(scores) - 1 - place:
        return float(lower.max())
    return float(found)


class _Run:
    """The state of one selection."""

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
                settings.threshold_of(candidates.table, name),
                candidates.tie,
                self._picks.taken,
            )
            for name in self._weights
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


METHOD = MmssrSelector
