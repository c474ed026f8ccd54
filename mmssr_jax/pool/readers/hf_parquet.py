"""The Parquet layout of lmms-lab/LLaVA-OneVision-Data: one folder per source, image bytes inside the rows.

    id: string | image: struct<bytes: binary, path: string>, null for text only
    conversations: list<struct<from: string, value: string>> | data_source: string

A row with several images has them in `images`, a list of such structs.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from mmssr_jax.core.errors import UserError
from mmssr_jax.core.progress import Progress
from mmssr_jax.pool.reader import Match, NoSettings, PoolFormat, contains
from mmssr_jax.pool.record import Record

_ROWS_AT_ONCE = 64
_FORM = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
# The columns to read, without and with the bytes.
_IMAGES = {"image": ("image.path", "image"), "images": ("images.list.element.path", "images")}


class HfParquet:
    """Reads Parquet files of the layout above; without an image column all samples are text-only.

    Args:
      path: a Parquet file, or a folder whose Parquet files are read in the order of their names.

    Raises:
      UserError: there is no Parquet file, one is not readable, or lacks a column.
    """

    in_place = False
    settings = None

    def __init__(self, path: Path):
        paths = [path] if path.is_file() else sorted(path.rglob("*.parquet"))
        if not paths:
            raise UserError(f"{path}: holds no Parquet file")
        self.files = tuple(p.resolve() for p in paths)
        self._total = sum(self._check(p) for p in self.files)

    def images_root(self, file: int) -> Path:
        return self.files[file].parent

    def records(self, *, images: bool, label: str | None = None, only: int | None = None) -> Iterator[Record]:
        progress = Progress(label, self._total, "records") if label else None
        for file, path in enumerate(self.files):
            if only not in (None, file):
                continue
            for number, (value, encoded) in enumerate(_rows(path, images)):
                if progress is not None:
                    progress.add()
                raw = json.dumps(value).encode()
                yield Record(file=file, number=number, offset=-1, raw=raw, value=value, images=encoded)

    def _check(self, path: Path) -> int:
        """Checks the columns of a file and returns its number of rows."""
        try:
            metadata = pq.read_metadata(path)
        except pa.ArrowInvalid as e:
            raise UserError(f"{path}: not a readable Parquet file ({e}); if it was cut off, fetch it again") from None
        schema = metadata.schema.to_arrow_schema()
        if "conversations" not in schema.names:
            raise UserError(f"{path}: has no column 'conversations'; it has {', '.join(schema.names)}")
        for name, form in (("image", _FORM), ("images", pa.list_(_FORM))):
            if name in schema.names and schema.field(name).type != form:
                raise UserError(f"{path}: its column {name!r} is {schema.field(name).type}, expected {form}")
        return metadata.num_rows


def _rows(path: Path, images: bool) -> Iterator[tuple[dict[str, Any], tuple[bytes, ...] | None]]:
    """Each row in LLaVA format, and its images if requested."""
    file = pq.ParquetFile(path)
    schema = file.schema_arrow
    columns = [f.name for f in schema if f.name not in _IMAGES and _is_plain(f.type)]
    columns += [_IMAGES[f.name][images] for f in schema if f.name in _IMAGES]
    number = 0
    for batch in file.iter_batches(_ROWS_AT_ONCE, columns=columns):
        for row in batch.to_pylist():
            one, several = row.pop("image", None), row.pop("images", None)
            form = several or ([one] if one is not None else [])
            names = [p["path"] or f"{path.stem}/{number:08d}.{i}" for i, p in enumerate(form)]
            if names:
                row["image"] = names[0] if len(names) == 1 else names
            encoded = tuple(p["bytes"] for p in form if p["bytes"] is not None) if images else None
            number += 1
            yield {k: v for k, v in row.items() if v is not None}, encoded


def _is_plain(type: pa.DataType) -> bool:
    """Whether JSON can represent the type's values."""
    if pa.types.is_list(type) or pa.types.is_large_list(type):
        return _is_plain(type.value_type)
    if pa.types.is_struct(type):
        return all(_is_plain(type.field(i).type) for i in range(type.num_fields))
    checks = (pa.types.is_string, pa.types.is_large_string, pa.types.is_integer, pa.types.is_floating)
    return pa.types.is_boolean(type) or pa.types.is_null(type) or any(check(type) for check in checks)


def _match(path: Path) -> Match:
    if path.suffix == ".parquet":
        return Match.EXACT
    return Match.CONTENT if contains(path, "*.parquet") else Match.NONE


def _open(path: Path, settings: NoSettings) -> HfParquet:
    return HfParquet(path)


READER = PoolFormat(match=_match, settings=NoSettings, open=_open)
