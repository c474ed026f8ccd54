"""What every selection shares with every other and, with a summary of the select stage, how far it is from the pool."""

from __future__ import annotations

from typing import Any

from mmssr_jax.core.saved import check_fields
from mmssr_jax.report.blocks import Block, Cell, Heat, Table
from mmssr_jax.report.inputs import Inputs
from mmssr_jax.report.numbers import count, fixed, percent
from mmssr_jax.selection.overlap import jaccard

MAX_COLUMNS = 24


def overlap_blocks(inputs: Inputs) -> list[Block]:
    """The overlap matrix of two selections and more, and the table of `results/selections.json` where it exists."""
    blocks: list[Block] = [_matrix(inputs)] if len(inputs.selections) > 1 else []
    result = inputs.results("selections")
    if result is not None:
        check_fields(result, {"selections": dict}, inputs.workdir.results("selections"), stage="select")
        blocks.append(_table(result))
    return blocks


def _table(result: dict[str, Any]) -> Table:
    rows = [
        (
            name,
            row["method"],
            "yes" if row["target_data"] else "no",
            _models(row.get("features", {})),
            count(row["samples"]),
            percent(row["total_variation"]),
            fixed(row["mean_tokens"], 0),
        )
        for name, row in result["selections"].items()
    ]
    header = ("selection", "method", "target data", "features of", "samples", "source distance", "mean tokens")
    return Table(
        header, rows, numeric=(4, 5, 6), title="Distance from the pool",
        note="The source distance is the total variation between the sources of a selection and those of the pool. The "
        "seconds of each selection stand under Times.",
    )  # fmt: skip


def _models(models: dict[str, str]) -> str:
    """The models that computed a selection's features, in words."""
    names = (f"{name}, untrained" if name == "base" else name for name in models.values())
    return "; ".join(dict.fromkeys(names))


def _matrix(inputs: Inputs) -> Heat:
    names = list(inputs.selections)[:MAX_COLUMNS]
    picks = [inputs.selections[name]["id"] for name in names]
    rows = []
    for a, overlaps in enumerate(jaccard(picks)):
        cells = [
            Cell(
                fixed(value),
                float(value),
                f"{names[a]} ({count(len(picks[a]))}) and {names[b]} ({count(len(picks[b]))})",
            )
            for b, value in enumerate(overlaps)
        ]
        rows.append((names[a], cells))
    omitted = len(inputs.selections) - len(names)
    note = "Samples of both selections over samples of either (Jaccard)."
    return Heat(names, rows, title="Overlap", note=f"{note}{f' {omitted} more are not listed.' if omitted else ''}")
