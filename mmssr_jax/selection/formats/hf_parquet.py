"""The Hugging Face layout of LLaVA-OneVision-Data: one config per source, images embedded.

    <source>/train-00000-of-00003.parquet
        id: string
        image: struct<bytes: binary, path: string>            null for a sample without one
        conversations: list<struct<from: string, value: string>>
        data_source: string

The layout has one image per row. If a source has a sample with several images, all rows of its config have a column
`images`, a list of such structs, instead of `image`. Other fields of the records are not written. Configs are named by
percent-encoded sources; `data_source` holds the original name.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from mmssr_jax.core import files
from mmssr_jax.core.progress import Progress
from mmssr_jax.core.sample import Sample
from mmssr_jax.selection.format import SelectedSamples
from mmssr_jax.selection.item import Item, file_name, image_suffix

_IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
_TURNS = pa.list_(pa.struct([("from", pa.string()), ("value", pa.string())]))
_ROWS_AT_ONCE = 64  # samples whose images are in memory


def schema(*, several: bool) -> pa.Schema:
    """The columns of a config; `several`: whether a sample may have more than one image."""
    image = ("images", pa.list_(_IMAGE)) if several else ("image", _IMAGE)
    return pa.schema([("id", pa.string()), image, ("conversations", _TURNS), ("data_source", pa.string())])


def write(folder: Path, by_source: Mapping[str, Sequence[Item]], *, per_file: int = 5_000) -> None:
    """Writes one config per source.

    Args:
      folder: the parent folder of the configs.
      by_source: each source's samples in order; read one at a time, so a lazy sequence suffices.
      per_file: samples per file.
    """
    progress = Progress(f"writing {folder.name}", sum(map(len, by_source.values())), "samples")
    for source, items in by_source.items():
        several = any(len(items[i].sample.images) > 1 for i in range(len(items)))
        n_files = max(-(-len(items) // per_file), 1)
        for number in range(n_files):
            path = folder / file_name(source) / f"train-{number:05d}-of-{n_files:05d}.parquet"
            end = min((number + 1) * per_file, len(items))
            _write_file(path, items, range(number * per_file, end), several=several, progress=progress)


def _write_file(path: Path, items: Sequence[Item], rows: range, *, several: bool, progress: Progress) -> None:
    columns = schema(several=several)
    with files.replacing(path) as temporary, pq.ParquetWriter(temporary, columns, compression="zstd") as writer:
        for begin in range(rows.start, rows.stop, _ROWS_AT_ONCE):
            chosen = [_row(items[i].sample, several) for i in range(begin, min(begin + _ROWS_AT_ONCE, rows.stop))]
            writer.write_table(pa.Table.from_pylist(chosen, columns))
            progress.add(len(chosen))


def _row(sample: Sample, several: bool) -> dict[str, Any]:
    """One row of the layout."""
    data = [image.read() for image in sample.images]
    stem = file_name(sample.id)
    images = [
        {"bytes": d, "path": f"{stem}{f'_{n}' if len(data) > 1 else ''}.{image_suffix(d)}"} for n, d in enumerate(data)
    ]
    turns = [{"from": "human" if t.role == "user" else "gpt", "value": t.text} for t in sample.turns]
    if sample.system is not None:
        turns.insert(0, {"from": "system", "value": sample.system})
    row: dict[str, Any] = {"id": sample.id, "conversations": turns, "data_source": sample.source}
    if several:
        row["images"] = images
    else:
        row["image"] = images[0] if images else None
    return row


def export(folder: Path, selected: SelectedSamples) -> None:
    """Writes the folder `hf_parquet`; a `selection.format.Format`."""
    write(folder / "hf_parquet", selected.by_source())


FORMAT = export
