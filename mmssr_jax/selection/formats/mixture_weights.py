"""A selection as weights of a mixture: the whole pool is trained on, each cell as often as the selection took of it.

A cell is a source and a set of styles (`selection.cells`); its weight is its share of the picks. Training on it
separates two explanations of a selection's gain: which samples it takes, and how it re-mixes sources and styles.

    mixture_weights/mixture.json   cell -> {"selection": ..., "weight": ...}: the value of a training phase's `mixture`
    mixture_weights/mixture.yaml   the same for LLaVA-NeXT's `--data_path`: of each cell as many random samples
    mixture_weights/cells/<cell>/  the candidates of a cell: selection.parquet, pool.json, manifest.json

Cells without picks have no weight. Samples that the selection excludes, or that have no scores, are in no cell.
"""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa

from mmssr_jax.core import files
from mmssr_jax.core.artifact import Artifact
from mmssr_jax.selection import llava_json
from mmssr_jax.selection.base import SCHEMA
from mmssr_jax.selection.format import PoolCell, SelectedSamples
from mmssr_jax.selection.item import file_name


def export(folder: Path, selected: SelectedSamples) -> None:
    """Writes the folder `mixture_weights`; a `selection.format.Format`."""
    out = folder / "mixture_weights"
    cells = selected.cells()
    total = sum(cell.picked for cell in cells)
    mixture, lines = {}, ["datasets:"]
    for cell in cells:
        path = Path("cells") / file_name(cell.name)
        _write_cell(out / path, cell)
        mixture[cell.name] = {"selection": f"{selected.name}/mixture_weights/{path}", "weight": cell.picked / total}
        strategy = "all" if cell.picked == len(cell.items) else f"random:{cell.picked}"
        lines += [f"  - json_path: {json.dumps(str(path / 'pool.json'))}", f"    sampling_strategy: {strategy}"]
    files.write_json(out / "mixture.json", mixture)
    files.write_text(out / "mixture.yaml", "\n".join(lines if cells else ["datasets: []"]) + "\n")


def _write_cell(folder: Path, cell: PoolCell) -> None:
    """Writes the candidates of a cell as a selection of its own, in pool order."""
    ids = [cell.items[i].sample.id for i in range(len(cell.items))]
    artifact = Artifact(
        folder, stage="select", settings={"cell": cell.name}, inputs={"ids": files.digest("\n".join(ids))}
    )
    if artifact.done:
        return
    n = len(ids)
    columns = [ids, [cell.source] * n, [None] * n, [cell.name] * n, [None] * n, [1] * n]
    files.write_parquet(
        folder / "selection.parquet",
        pa.table([pa.array(c, f.type) for c, f in zip(columns, SCHEMA, strict=True)], schema=SCHEMA),
    )
    llava_json.write(folder / "pool.json", (cell.items[i].value for i in range(n)), total=n)
    artifact.seal({"samples": n, "picked": cell.picked})


FORMAT = export
