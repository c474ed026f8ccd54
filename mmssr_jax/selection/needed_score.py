"""The score that would have got a row selected by mmSSR, all else equal.

A sample that is not picked affects no other sample except by being counted in its groups. The counterfactual is
therefore exact without a search: make the row eligible for the capability with the lowest score above the threshold,
select again, and look, in each of its groups, at the last row that the capability took from the slot in which the row
has the style. Ranked before that row, it would have been taken in its place:

    needed score = that row's score, or the next float32 above it where the tie keys rank the row after

and the smallest over its groups is the answer. Where the row is eligible already, the given selection serves. Under a
token budget the row's own length matters as well; there the picks are monotone in its score (an earlier rank is always
the cheaper one), so the answer is found by bisection over float32 scores.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from mmssr_jax.core.vocabulary import MAX_SCORE
from mmssr_jax.selection.base import Selection
from mmssr_jax.selection.method import SelectionRun
from mmssr_jax.selection.standings import groups_of


def needed_score(run: SelectionRun, row: int, capability: str, threshold: float) -> float | None:
    """The smallest float32 score that would get an unselected row selected; None where none up to 5 would."""
    lowest = float(np.nextafter(np.float32(threshold), np.float32(np.inf)))
    if lowest > MAX_SCORE:
        return None
    if run.budgets[-1].tokens is not None:
        return _bisect(run, row, capability, lowest)
    selection = run.selection
    if not run.table.column(capability)[row] >= np.float32(lowest):
        selection = _with_score(run, row, capability, lowest)
        if row in selection.rows:
            return lowest
    needed = min(_needed_by_group(run, selection, row, capability), default=np.inf)
    return needed if needed <= MAX_SCORE else None


def _with_score(run: SelectionRun, row: int, capability: str, score: float) -> Selection:
    """The selection with one score replaced."""
    column = run.table.column(capability).copy()
    column[row] = score
    return run.again(dataclasses.replace(run.table, scores={**run.table.scores, capability: column}))


def _needed_by_group(run: SelectionRun, selection: Selection, row: int, capability: str) -> list[float]:
    """The score that overtakes a pick, for each group of the row with picks from the row's slot."""
    table, tie = run.table, run.candidates.tie
    column, needed = table.column(capability), []
    of_capability = selection.capability == selection.capability_names.index(capability)
    for slot, group in groups_of(run, row):
        picked = selection.rows[of_capability & (selection.group == selection.group_names.index(group))]
        picked = picked[table.styles[picked, slot] == table.styles[row, slot]]
        if not len(picked):
            continue
        last = picked[np.lexsort((tie[picked], -column[picked]))[-1]]
        score = column[last]
        needed.append(float(score if tie[row] < tie[last] else np.nextafter(score, np.float32(np.inf))))
    return needed


def _bisect(run: SelectionRun, row: int, capability: str, lowest: float) -> float | None:
    """The smallest score that gets the row selected; positive float32 numbers are ordered like their bits."""
    if row not in _with_score(run, row, capability, MAX_SCORE).rows:
        return None
    low, high = (int(np.array(s, np.float32).view(np.int32)) for s in (lowest, MAX_SCORE))
    while low < high:
        middle = (low + high) // 2
        score = float(np.array(middle, np.int32).view(np.float32))
        if row in _with_score(run, row, capability, score).rows:
            high = middle
        else:
            low = middle + 1
    return float(np.array(low, np.int32).view(np.float32))
