"""How far each matched control can differ from the selection that it is matched with."""

from __future__ import annotations

from mmssr_jax.report.blocks import Block, Table
from mmssr_jax.report.inputs import Inputs
from mmssr_jax.report.numbers import count, fixed, percent

_MATCHED = "matched"


def matched_blocks(inputs: Inputs) -> list[Block]:
    """A table of the selections by the method `matched`; nothing where there are none."""
    rows = []
    for name, picks in inputs.selections.items():
        manifest = inputs.selection_manifest(name)
        settings = manifest["config"].get("selection", {})
        report = manifest.get("counts", {}).get("method", {})
        if settings.get("method") != _MATCHED or not report:
            continue
        rows.append(
            (
                name,
                f"{settings['like']}{', contested cells only' if settings.get('cells') else ''}",
                count(picks.num_rows),
                fixed(report["jaccard"]),
                percent(report["exhausted_share"]),
                fixed(report.get("contested_jaccard")),
            )
        )
    header = ("control", "matched with", "samples", "overlap", "from cells taken whole", "overlap in the other cells")
    note = (
        "Random samples with the same counts in every cell, a cell being a source and a whole set of styles. The "
        "overlap is samples of both over samples of either (Jaccard). Of a cell that the selection took whole, both "
        "have the same samples: only in the other cells can its scores make a difference. Styles are those that the "
        "scorer predicted: what it gains by predicting them counts as mixture, not as scores."
    )
    table = Table(header, rows, numeric=range(2, 6), title="Matched controls", note=note)
    return [table] if rows else []
