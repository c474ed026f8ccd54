"""Why a sample was taken or not, and what score would have got it picked.

A sample that is not picked touches nobody else's fate except by being counted in its groups. So the counterfactual is
exact without trying scores: let x be eligible for capability c at the lowest score above the threshold, select again,
and look at the last row that c took from each of x's groups out of the slot in which x has the style. Had x stood
before that row, it would have been taken in its place:

    needed score = that row's score, or the next float32 above it where the tie keys put x behind

and the smallest over x's groups is the answer. Where x is eligible already, the selection at hand is that selection.
Under a budget of tokens x's own length matters as well; there the picks are monotone in x's score (an earlier place
is always the cheaper one), so the answer is found by bisection over float32 scores.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np
import pyarrow as pa

from mmssr_jax.core.errors import UserError
from mmssr_jax.core.vocabulary import MAX_SCORE
from mmssr_jax.selection.base import Selection
from mmssr_jax.selection.candidates import positions
from mmssr_jax.selection.groups import Groups
from mmssr_jax.selection.methods.mmssr import MmssrSelector
from mmssr_jax.selection.run_selection import SelectionRun


@dataclasses.dataclass(frozen=True)
class Standing:
    """Where a sample stands in one of its groups for one capability.

    Attributes:
      capability, group: which list.
      score: the sample's; NaN = none.
      threshold: what it has to exceed.
      rank: its place in the list before anything was taken, 1 = first; None where it is not eligible.
      eligible: the length of that list.
      taken: how many of the list were picked for this capability from this group.
      last_score: the lowest score among those; NaN where none was.
    """

    capability: str
    group: str
    score: float
    threshold: float
    rank: int | None
    eligible: int
    taken: int
    last_score: float


@dataclasses.dataclass(frozen=True)
class Explanation:
    """The answer for one sample.

    Attributes:
      id: the sample.
      taken: whether it was selected.
      reason: one line.
      pick: its number in pick order, 1 = first; None where not taken.
      capability, group, score, round: as in selection.parquet; None where not taken or there is none.
      standings: its place in all its lists (mmSSR only).
      needed: by capability, the smallest score that would get it picked, all else fixed; None where none up to 5
        would. Empty for samples that were taken or ruled out, and for methods that do not select by scores.
    """

    id: str
    taken: bool
    reason: str
    pick: int | None = None
    capability: str | None = None
    group: str | None = None
    score: float | None = None
    round: int | None = None
    standings: tuple[Standing, ...] = ()
    needed: Mapping[str, float | None] = dataclasses.field(default_factory=dict)


def explain(derived: SelectionRun, id: str, *, counterfactual: bool = True) -> Explanation:
    """Why the sample was or was not taken.

    Args:
      derived: the selection.
      id: the sample.
      counterfactual: also find `needed`; up to one further selection for each capability, under a budget of tokens up
        to 32.

    Raises:
      UserError: the id is not among the rows that were selected from.
    """
    row = int(positions(pa.array([id], pa.string()), derived.table.ids)[0])
    if row < 0:
        raise UserError(f"{id!r} is not among the {len(derived.table)} scored samples, so it could not be selected")
    selector = derived.config.selector()
    standings: tuple[Standing, ...] = ()
    if isinstance(selector, MmssrSelector):
        standings = _standings(derived, selector, row)
    at = np.flatnonzero(derived.selection.rows == row)
    if len(at):
        return _taken(derived, id, int(at[0]), standings)
    ruled_out = _ruled_out(derived, row)
    if ruled_out is not None or not isinstance(selector, MmssrSelector):
        return Explanation(id, False, ruled_out or _place(derived, row), standings=standings)
    needed = {}
    if counterfactual:
        needed = {name: needed_score(derived, row, name) for name in selector.weighted(derived.table.capabilities)}
    return Explanation(id, False, _outranked(derived, row, standings), standings=standings, needed=needed)


def needed_score(derived: SelectionRun, row: int, capability: str) -> float | None:
    """The smallest float32 score that would get a row picked that is not; None where none up to 5 would."""
    selector = derived.config.selector()
    assert isinstance(selector, MmssrSelector)
    lowest = float(np.nextafter(np.float32(selector.threshold_of(capability)), np.float32(np.inf)))
    if lowest > MAX_SCORE:
        return None
    if derived.budgets[-1].tokens is not None:
        return _bisect(derived, row, capability, lowest)
    selection = derived.selection
    if not derived.table.column(capability)[row] >= np.float32(lowest):
        selection = _with_score(derived, row, capability, lowest)
        if row in selection.rows:
            return lowest
    needed = min(_needed_by_group(derived, selection, row, capability), default=np.inf)
    return needed if needed <= MAX_SCORE else None


def _with_score(derived: SelectionRun, row: int, capability: str, score: float) -> Selection:
    """The selection if one score were another."""
    column = derived.table.column(capability).copy()
    column[row] = score
    return derived.again(dataclasses.replace(derived.table, scores={**derived.table.scores, capability: column}))


def _needed_by_group(derived: SelectionRun, selection: Selection, row: int, capability: str) -> list[float]:
    """For each group of the row that gave the capability rows out of the row's slot: the score that overtakes one."""
    table, tie = derived.table, derived.candidates.tie
    column, found = table.column(capability), []
    of_capability = selection.capability == selection.capability_names.index(capability)
    for slot, group in _groups_of(derived, row):
        picked = selection.rows[of_capability & (selection.group == selection.group_names.index(group))]
        picked = picked[table.styles[picked, slot] == table.styles[row, slot]]
        if not len(picked):
            continue
        last = picked[np.lexsort((tie[picked], -column[picked]))[-1]]
        score = column[last]
        found.append(float(score if tie[row] < tie[last] else np.nextafter(score, np.float32(np.inf))))
    return found


def _bisect(derived: SelectionRun, row: int, capability: str, lowest: float) -> float | None:
    """The smallest score that gets the row picked, by trying; positive float32 numbers are ordered like their bits."""
    if row not in _with_score(derived, row, capability, MAX_SCORE).rows:
        return None
    low, high = (int(np.array(s, np.float32).view(np.int32)) for s in (lowest, MAX_SCORE))
    while low < high:
        middle = (low + high) // 2
        score = float(np.array(middle, np.int32).view(np.float32))
        if row in _with_score(derived, row, capability, score).rows:
            high = middle
        else:
            low = middle + 1
    return float(np.array(low, np.int32).view(np.float32))


def _groups_of(derived: SelectionRun, row: int) -> list[tuple[int, str]]:
    """The slots of a row and the group in each."""
    table = derived.table
    source = table.source_names[table.source[row]]
    return [(slot, f"{table.style_names[s]}+{source}") for slot, s in enumerate(table.styles[row]) if s >= 0]


def _standings(derived: SelectionRun, selector: MmssrSelector, row: int) -> tuple[Standing, ...]:
    """The row's place in every list that it is in, or would be in if it were eligible."""
    table, selection, candidates = derived.table, derived.selection, derived.candidates
    groups = Groups(table, candidates.allowed)
    result = []
    for capability in selector.weighted(table.capabilities):
        column, threshold = table.column(capability), np.float32(selector.threshold_of(capability))
        of_capability = selection.capability == selection.capability_names.index(capability)
        for slot, group in _groups_of(derived, row):
            number = groups.names.index(group) if group in groups.names else -1
            before, total = _count_before(groups, number, slot, row, column, threshold, candidates.tie)
            taken = selection.rows[of_capability & (selection.group == number)] if number >= 0 else selection.rows[:0]
            eligible = column[row] > threshold and candidates.allowed[row]
            result.append(
                Standing(
                    capability,
                    group,
                    score=float(column[row]),
                    threshold=float(threshold),
                    rank=before + 1 if eligible else None,
                    eligible=total,
                    taken=len(taken),
                    last_score=float(column[taken].min()) if len(taken) else float("nan"),
                )
            )
    return tuple(result)


def _count_before(
    groups: Groups, group: int, slot: int, row: int, column: np.ndarray, threshold: np.floating, tie: np.ndarray
) -> tuple[int, int]:
    """How many eligible entries of a group's list stand before a row's entry in `slot`, and how many there are."""
    if group < 0:
        return 0, 0
    before = total = 0
    for other in range(groups.slots):
        rows = groups.rows(group, other)
        score = column[rows]
        eligible = score > threshold
        total += int(np.count_nonzero(eligible))
        if other == slot:
            better = (score > column[row]) | ((score == column[row]) & (tie[rows] < tie[row]))
            before += int(np.count_nonzero(eligible & better))
        elif other < slot:
            before += int(np.count_nonzero(eligible))
    return before, total


def _taken(derived: SelectionRun, id: str, at: int, standings: tuple[Standing, ...]) -> Explanation:
    """The explanation of a pick."""
    selection = derived.selection
    capability = selection.capability_names[selection.capability[at]] if selection.capability[at] >= 0 else None
    group = selection.group_names[selection.group[at]] if selection.group[at] >= 0 else None
    score = None if np.isnan(selection.score[at]) else float(selection.score[at])
    round_ = int(selection.round[at])
    if round_ == 0:
        reason = "taken: it was required by its id"
    elif capability is not None:
        rank = next(s.rank for s in standings if (s.capability, s.group) == (capability, group))
        total = next(s.eligible for s in standings if (s.capability, s.group) == (capability, group))
        reason = (
            f"taken in round {round_} for {capability}, score {score:.4g}: rank {rank} of {total} in the group {group}"
        )
    else:
        reason = f"taken: pick {at + 1} of {len(selection)} by the method {derived.config.method}"
    return Explanation(id, True, reason, at + 1, capability, group, score, round_, standings)


def _ruled_out(derived: SelectionRun, row: int) -> str | None:
    """Why no score could get the row picked; None where one might."""
    for reason, marked in derived.excluded.reasons.items():
        if marked[row]:
            return f"not taken: it was no candidate ({reason})"
    if derived.config.method == "mmssr" and not (derived.table.styles[row] >= 0).any():
        return "not taken: it has no style, so it is in no group"
    source = derived.table.source[row]
    caps = derived.candidates.source_caps
    if caps is not None and caps[source] <= 0:
        return f"not taken: the source {derived.table.source_names[source]} may give no sample"
    return None


def _place(derived: SelectionRun, row: int) -> str:
    """The reason of the methods that take candidates in one order."""
    table, tie = derived.table, derived.candidates.tie
    if derived.config.method == "length":
        return (
            f"not taken: its {int(derived.candidates.tokens()[row])} tokens were not among the {derived.config.length}"
        )
    if derived.config.method in ("feature", "votes"):
        return _feature_place(derived, row)
    rivals = derived.candidates.allowed.copy()
    if derived.config.method == "stratified":
        rivals &= table.source == table.source[row]
    place = int(np.count_nonzero(tie[rivals] < tie[row])) + 1
    taken = int(np.count_nonzero(rivals[derived.selection.rows]))
    return f"not taken: place {place} in the random order, of which {taken} were taken"


def _feature_place(derived: SelectionRun, row: int) -> str:
    """The reason of the methods that go by feature tables."""
    config = derived.config
    if config.method == "votes":
        last = derived.selection.score[derived.selection.round > 0]
        fewest = f"{last.min():g}" if len(last) else "no"
        return f"not taken: it has too few votes; what was taken has {fewest} or more"
    value = derived.table.feature(config.feature)[row]
    if np.isnan(value):
        return f"not taken: it has no {config.feature}"
    return f"not taken: its {config.feature} of {value:.4g} was not among the {config.take}"


def _outranked(derived: SelectionRun, row: int, standings: tuple[Standing, ...]) -> str:
    """The reason of a candidate that mmSSR did not take."""
    eligible = [s for s in standings if s.rank is not None]
    if not eligible:
        return "not taken: no score of it is above the threshold"
    caps = derived.candidates.source_caps
    source = derived.table.source[row]
    picked = int(np.count_nonzero(derived.table.source[derived.selection.rows] == source))
    if caps is not None and picked >= caps[source]:
        return f"not taken: the source {derived.table.source_names[source]} has given the {picked} samples it may"
    nearest = min(eligible, key=lambda s: (s.rank or 0) - s.taken)
    if not nearest.taken:
        return f"not taken: no list of it gave a sample; it is rank {nearest.rank} in {nearest.group}"
    return (
        f"not taken: rank {nearest.rank} of {nearest.eligible} for {nearest.capability} in the group {nearest.group}, "
        f"which gave {nearest.taken} down to a score of {nearest.last_score:.4g}; it has {nearest.score:.4g}"
    )


def describe(explanation: Explanation) -> list[str]:
    """The explanation as lines for a reader."""
    lines = [f"{explanation.id}: {explanation.reason}"]
    for capability, score in explanation.needed.items():
        would = "no score would get it picked" if score is None else f"a score of {score:.7g} would get it picked"
        lines.append(f"{explanation.id}: {capability}: {would}")
    return lines
