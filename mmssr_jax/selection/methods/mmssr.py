"""mmSSR: capability by capability, style by style, the best scores first (arXiv 2503.13383).

    repeat until the budget is met                                          "round"
        for each capability, in the order given                             its share: budget left / capabilities
            for each group "style+source", smallest first                   its quota: share / groups, plus the debt
                take the best-scored rows that are not taken yet            what it cannot fill is debt for the next
        a capability without rows left drops out

Equal to the official program wherever that is defined (tests/selection runs its goldens). Where it is not: a share
is never exceeded (`cap_takes=False` gives the official overshoot), an exhausted capability drops out, equal scores
are ordered by `Candidates.tie`, equally large groups by name, and the capabilities keep the order given.

The official scores are integers: most of a group's best are equal, and which of them are taken is left to chance. The
best of continuous scores are instead those that the scorer overrates most, and much alike: at a tenth of the tile
world's pool, 29 of one capability's 38 had the same answer. `take = "random"`, which is ours, draws among the eligible.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping, Sequence
from fractions import Fraction
from typing import Literal

import numpy as np

from mmssr_jax.core.errors import UserError
from mmssr_jax.selection.base import Budget, Candidates, Selection
from mmssr_jax.selection.capability_rounds import Rounds
from mmssr_jax.selection.method import Needs, SelectionRun, Selector, Standing
from mmssr_jax.selection.needed_score import needed_score
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
      take: "best", the default, takes a group's best-scored rows first, as in the paper; "random" takes its eligible
        rows in random order.
      cap_takes: whether a group's debt is capped by the share. False reproduces the official program, which may select
        more than the budget.
    """

    capabilities: tuple[str, ...] = ()
    threshold: float = 0.5
    threshold_quantile: float | None = None
    least_threshold: float | None = None
    thresholds: Mapping[str, float] = dataclasses.field(default_factory=dict)
    weights: Mapping[str, float] = dataclasses.field(default_factory=dict)
    take: Literal["best", "random"] | None = None  # not "best": settings of selections made before it stay the same
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
        table = candidates.table
        weights, thresholds = self.weighted(table.capabilities), self._weighted_thresholds(table)
        rounds = Rounds(
            self._in_order(candidates), weights, thresholds, self._order(table, thresholds), cap_takes=self.cap_takes
        )
        return rounds.until(budgets)

    def _in_order(self, candidates: Candidates) -> Candidates:
        """The candidates with the order of rows that are equal in `_order`."""
        return dataclasses.replace(candidates, tie=candidates.random_keys) if self.take == "random" else candidates

    def _order(self, table: ScoreTable, thresholds: Mapping[str, float]) -> Mapping[str, np.ndarray]:
        """What each capability's lists are sorted by: the scores, of which "random" makes all eligible ones equal."""
        if self.take != "random":
            return table.scores
        return {name: np.minimum(table.column(name), _next(value)) for name, value in thresholds.items()}

    def total_score(self, table: ScoreTable) -> np.ndarray:
        """float64 [rows]: the sum of the scores of the weighted capabilities, missing ones as 0."""
        total = np.zeros(len(table))
        for name in self.weighted(table.capabilities):
            total += np.nan_to_num(table.column(name))
        return total

    def standings(self, run: SelectionRun, row: int) -> tuple[Standing, ...]:
        """See `Selector.standings`."""
        thresholds = self._thresholds_of(run)
        order = run.once("order", lambda: self._order(run.table, thresholds))
        if self.take == "random":
            run = run.once("in order", lambda: run.with_candidates(self._in_order(run.candidates)))
        return standings_of(run, row, thresholds, order)

    def needed_scores(self, run: SelectionRun, row: int) -> Mapping[str, float | None]:
        """See `Selector.needed_scores`; up to one further selection per capability, 32 under a token budget.

        In random order, a score only makes a row eligible.
        """
        if not (run.table.styles[row] >= 0).any():
            return {}
        thresholds = self._thresholds_of(run)
        if self.threshold_quantile is not None:  # one other score must not move the thresholds of all
            fixed = dataclasses.replace(self, threshold_quantile=None, least_threshold=None, thresholds=thresholds)
            run = dataclasses.replace(run, selector=fixed)
        if self.take == "random":
            table = dataclasses.replace(run.table, scores={**run.table.scores, **self._order(run.table, thresholds)})
            run = run.with_candidates(dataclasses.replace(self._in_order(run.candidates), table=table))
        found = {name: needed_score(run, row, name, threshold) for name, threshold in thresholds.items()}
        if self.take == "random":
            return {n: None if v is None or v > _next(thresholds[n]) else v for n, v in found.items()}
        return found

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
        place = f"of {nearest.eligible} for {nearest.capability} in the group {nearest.group}, which "
        place += f"gave {nearest.taken}"
        if self.take == "random":
            return f"number {nearest.rank} in the random order {place}"
        scores = f"down to a score of {nearest.last_score:.4g}; it has {nearest.score:.4g}"
        return f"rank {nearest.rank} {place} {scores}"

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


def _next(threshold: float) -> np.float32:
    """The lowest score that is eligible."""
    return np.nextafter(np.float32(threshold), np.float32(np.inf))


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


METHOD = MmssrSelector
