"""The Hugging Face layout of LLaVA-OneVision-Data, images embedded; `datasets.load_dataset(FOLDER)` reads all of it.

    README.md                                             the config "default" of all files, and one config per source
    <source>/train-00000-of-00003.parquet
        id: string
        image: struct<bytes: binary, path: string>        null for a sample without one
        conversations: list<struct<from: string, value: string>>
        data_source: string

The layout has one image per row. If any sample has several images, all files have a column `images`, a list of such
structs, instead of `image`: the files share one schema, whose metadata declare the images, so that viewers show them.
Other fields of the records are not written. Configs are named by percent-encoded sources; `data_source` holds the
original name.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from mmssr_jax.core import files
from mmssr_jax.core.progress import Progress
from mmssr_jax.selection.dataset_card import DEFAULT, write_card
from mmssr_jax.selection.format import SelectedSamples
from mmssr_jax.selection.item import Item, file_name, image_suffix

_IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
_TURNS = pa.list_(pa.struct([("from", pa.string()), ("value", pa.string())]))
_ROWS_AT_ONCE = 64  # samples whose images are in memory


def schema(*, several: bool) -> pa.Schema:
    """The columns of all files; `several`: whether a sample may have more than one image."""
    image = ("images", pa.list_(_IMAGE)) if several else ("image", _IMAGE)
    columns = pa.schema([("id", pa.string()), image, ("conversations", _TURNS), ("data_source", pa.string())])
    text, picture = {"dtype": "string", "_type": "Value"}, {"_type": "Image"}
    features = {
        "id": text,
        "conversations": [{"from": text, "value": text}],
        "data_source": text,
        image[0]: [picture] if several else picture,
    }
    info = {"info": {"features": {name: features[name] for name in columns.names}}}
    return columns.with_metadata({"huggingface": json.dumps(info)})


def write(
    folder: Path, by_source: Mapping[str, Sequence[Item]], *, title: str = "Selection", per_file: int = 5_000
) -> None:
    """Writes the files of each source, and the card.

    Args:
      folder: the parent folder of the sources' folders.
      by_source: each source's samples in order; read one at a time, so a lazy sequence suffices.
      title: the title of the card.
      per_file: samples per file.
    """
    progress = Progress(f"writing {folder.name}", sum(map(len, by_source.values())), "samples")
    several = any(len(items[i].sample.images) > 1 for items in by_source.values() for i in range(len(items)))
    for source, items in by_source.items():
        n_files = max(-(-len(items) // per_file), 1)
        for number in range(n_files):
            path = folder / file_name(source) / f"train-{number:05d}-of-{n_files:05d}.parquet"
            end = min((number + 1) * per_file, len(items))
            _write_file(path, items, range(number * per_file, end), several=several, progress=progress)
    configs = {file_name(source): f"{file_name(source)}/train-*.parquet" for source in by_source if source != DEFAULT}
    if by_source:
        write_card(folder, title, {DEFAULT: "*/train-*.parquet", **configs})


def _write_file(path: Path, items: Sequence[Item], rows: range, *, several: bool, progress: Progress) -> None:
    columns = schema(several=several)
    with files.replacing(path) as temporary, pq.ParquetWriter(temporary, columns, compression="zstd") as writer:
        for begin in range(rows.start, rows.stop, _ROWS_AT_ONCE):
            chosen = [_row(items[i], several) for i in range(begin, min(begin + _ROWS_AT_ONCE, rows.stop))]
            writer.write_table(pa.Table.from_pylist(chosen, columns))
            progress.add(len(chosen))


def _row(item: Item, several: bool) -> dict[str, Any]:
    """One row of the layout."""
    sample = item.sample
    data = [image.read() for image in sample.images]
    stem = file_name(sample.id)
    images = [
        {"bytes": d, "path": f"{stem}{f'_{n}' if len(data) > 1 else ''}.{image_suffix(d)}"} for n, d in enumerate(data)
    ]
    row: dict[str, Any] = {"id": sample.id, "conversations": item.conversations, "data_source": sample.source}
    if several:
        row["images"] = images
    else:
        row["image"] = images[0] if images else None
    return row


def export(folder: Path, selected: SelectedSamples) -> None:
    """Writes the folder `hf_parquet`; a `selection.format.Format`."""
    write(folder / "hf_parquet", selected.by_source(), title=selected.name)


FORMAT = export
