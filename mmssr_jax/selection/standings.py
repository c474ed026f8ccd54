"""The positions of a row in mmSSR's lists."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from mmssr_jax.selection.groups import Groups
from mmssr_jax.selection.method import SelectionRun, Standing


def groups_of(run: SelectionRun, row: int) -> list[tuple[int, str]]:
    """The slots of a row that have a style, each with its group."""
    table = run.table
    source = table.source_names[table.source[row]]
    return [(slot, f"{table.style_names[s]}+{source}") for slot, s in enumerate(table.styles[row]) if s >= 0]


def standings_of(
    run: SelectionRun, row: int, thresholds: Mapping[str, float], order: Mapping[str, np.ndarray]
) -> tuple[Standing, ...]:
    """The row's position in every list that it is in, or would be in if it were eligible.

    Args:
      run: the selection.
      row: a row of its table.
      thresholds: the capabilities with the scores that eligible rows exceed.
      order: what each capability's lists are sorted by, float32 [rows].
    """
    table, selection, candidates = run.table, run.selection, run.candidates
    groups = run.once("groups", lambda: Groups(table, candidates.allowed))
    result = []
    for capability, limit in thresholds.items():
        column, threshold = table.column(capability), np.float32(limit)
        of_capability = selection.capability == selection.capability_names.index(capability)
        for slot, group in groups_of(run, row):
            number = groups.names.index(group) if group in groups.names else -1
            before, total = _count_before(groups, number, slot, row, order[capability], threshold, candidates.tie)
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
    """The number of eligible entries of a group's list before a row's entry in `slot`, and of all of them."""
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
