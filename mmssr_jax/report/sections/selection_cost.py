"""What selecting costs, and after how many trainings it has paid for itself: the field `cost` of the comparison."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mmssr_jax.report.blocks import Block, Note, Table
from mmssr_jax.report.numbers import NONE, fixed, percent, seconds


def cost_blocks(cost: Mapping[str, Any]) -> list[Block]:
    """A sentence on the group whose selection took longest, and a table of all groups.

    Args:
      cost: the field of that name of `results/comparison.json`; `evaluation.break_even` describes it.
    """
    full = cost["full"]
    groups = {name: entry for name, entry in cost["groups"].items() if name != full}
    if not groups:
        return []
    rows = [
        (
            name,
            _time(entry["training_seconds"]),
            _time(entry["selection_seconds"]),
            percent(entry["share_of_full"], 0),
            fixed(entry["break_even_runs"]) if entry["break_even_runs"] is not None else _never(entry),
        )
        for name, entry in groups.items()
    ]
    rows.append((full, _time(cost["groups"][full]["training_seconds"]), NONE, percent(1.0, 0), NONE))
    header = ("trained on", "one training", "selecting", "both, of a training on everything", "pays after trainings")
    absent = [stage for stage, spent in cost["stages"].items() if spent is None]
    note = "Seconds of the stages that a selection needs (of each the longest run), and of a run's training."
    note += f" Not run in this workdir and not counted: {', '.join(absent)}." if absent else ""
    table = Table(header, rows, numeric=(1, 2, 3, 4), title="Cost of selecting", note=note)
    return [_note(max(groups, key=lambda name: groups[name]["selection_seconds"]), cost), table]


def _note(group: str, cost: Mapping[str, Any]) -> Note:
    entry, full = cost["groups"][group], cost["full"]
    parts = ", ".join(f"{stage} {seconds(spent)}" for stage, spent in cost["stages"].items() if spent is not None)
    text = f"What {group} costs: its selection took {seconds(entry['selection_seconds'])} (of {parts}). "
    if entry["saved_seconds"] is None:
        return Note(f"{text}When it pays is unknown: the times of a training are missing.")
    own, everything = entry["training_seconds"], cost["groups"][full]["training_seconds"]
    text += f"A training takes {seconds(own)}, on everything ({full}) {seconds(everything)}. "
    if entry["break_even_runs"] is None:
        return Note(f"{text}It saves no time, so the selection never pays for itself.", "alarm")
    runs, share = fixed(entry["break_even_runs"]), percent(entry["share_of_full"], 0)
    text += f"Selecting once and training once is {share} of a training on everything; "
    return Note(
        f"{text}the selection has paid for itself after {runs} trainings.",
        "finding" if entry["share_of_full"] < 1 else "alarm",
    )


def _time(value: float | None) -> str:
    return NONE if value is None else seconds(value)


def _never(entry: Mapping[str, Any]) -> str:
    return NONE if entry["saved_seconds"] is None else "never"
