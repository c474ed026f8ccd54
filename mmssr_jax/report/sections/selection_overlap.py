"""The overlap of all selections, their distance to the pool's sources and their tokens: `results/selections.json`."""

from __future__ import annotations

from typing import Any

from mmssr_jax.core.saved import check_fields
from mmssr_jax.report.blocks import Block, Cell, Heat, Section, Table
from mmssr_jax.report.inputs import Inputs
from mmssr_jax.report.numbers import count, fixed, percent

MAX_COLUMNS = 24


def overlap_sections(inputs: Inputs) -> list[Section]:
    """The section, where the select stage wrote a summary; otherwise none."""
    result = inputs.results("selections")
    if result is None:
        return []
    fields = {"selections": dict, "names": list, "jaccard": list}
    check_fields(result, fields, inputs.workdir.results("selections"), stage="select")
    title, lead = "Overlap of the selections", "Every selection compared with the pool and with each other."
    return [Section("overlap", title, lead, [_table(result), *_matrix(result)])]


def _table(result: dict[str, Any]) -> Table:
    rows = [
        (
            name,
            row["method"],
            "yes" if row["target_data"] else "no",
            count(row["samples"]),
            percent(row["total_variation"]),
            fixed(row["mean_tokens"], 0),
        )
        for name, row in result["selections"].items()
    ]
    header = ("selection", "method", "uses target data", "samples", "source distance", "mean tokens")
    return Table(
        header, rows, numeric=(3, 4, 5),
        note="The source distance is the total variation between the sources of a selection and those of the pool. The "
        "seconds of each selection stand under Times.",
    )  # fmt: skip


def _matrix(result: dict[str, Any]) -> list[Block]:
    names = result["names"][:MAX_COLUMNS]
    rows = [
        (name, [Cell(fixed(value), value) for value in values[: len(names)]])
        for name, values in zip(names, result["jaccard"], strict=False)
    ]
    omitted = len(result["names"]) - len(names)
    note = "Samples of both selections over samples of either (Jaccard)."
    return [Heat(names, rows, title="Overlap", note=f"{note}{f' {omitted} more are not listed.' if omitted else ''}")]
