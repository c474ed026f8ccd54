"""The Parquet layout of lmms-lab/LLaVA-OneVision-Data: one folder a source, picture bytes inside the rows.

    id: string | image: struct<bytes: binary, path: string>, null for text only
    conversations: list<struct<from: string, value: string>> | data_source: string

The layout has one picture a row; where a row has several they stand in `images`, a list of such structs.
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
from mmssr_jax.pool.record import Record

_ROWS_AT_ONCE = 64
_FORM = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
# The columns to read: without the bytes, and with them.
_PICTURES = {"image": ("image.path", "image"), "images": ("images.list.element.path", "images")}


class HfParquet:
    """Reads Parquet files of the layout above; without a column of pictures all is text.

    Args:
      path: a Parquet file, or a folder in which all Parquet files are read, in the order of their names.

    Raises:
      UserError: there is no Parquet file, one is not readable, or lacks a column.
    """

    in_place = False
    settings = None

    def __init__(self, path: Path):
        found = [path] if path.is_file() else sorted(path.rglob("*.parquet"))
        if not found:
            raise UserError(f"{path}: holds no Parquet file")
        self.files = tuple(p.resolve() for p in found)
        self._total = sum(self._check(p) for p in self.files)

    def images_root(self, file: int) -> Path:
        return self.files[file].parent

    def records(self, *, pictures: bool, label: str | None = None, only: int | None = None) -> Iterator[Record]:
        progress = Progress(label, self._total, "records") if label else None
        for file, path in enumerate(self.files):
            if only not in (None, file):
                continue
            for number, (value, encoded) in enumerate(_rows(path, pictures)):
                if progress is not None:
                    progress.add()
                raw = json.dumps(value).encode()
                yield Record(file=file, number=number, offset=-1, raw=raw, value=value, pictures=encoded)

    def _check(self, path: Path) -> int:
        """The number of rows of a file that has the right columns."""
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


def _rows(path: Path, pictures: bool) -> Iterator[tuple[dict[str, Any], tuple[bytes, ...] | None]]:
    """Each row in LLaVA form, and its pictures where they are wanted."""
    file = pq.ParquetFile(path)
    schema = file.schema_arrow
    columns = [f.name for f in schema if f.name not in _PICTURES and _is_plain(f.type)]
    columns += [_PICTURES[f.name][pictures] for f in schema if f.name in _PICTURES]
    number = 0
    for batch in file.iter_batches(_ROWS_AT_ONCE, columns=columns):
        for row in batch.to_pylist():
            one, several = row.pop("image", None), row.pop("images", None)
            form = several or ([one] if one is not None else [])
            names = [p["path"] or f"{path.stem}/{number:08d}.{i}" for i, p in enumerate(form)]
            if names:
                row["image"] = names[0] if len(names) == 1 else names
            encoded = tuple(p["bytes"] for p in form if p["bytes"] is not None) if pictures else None
            number += 1
            yield {k: v for k, v in row.items() if v is not None}, encoded


def _is_plain(type: pa.DataType) -> bool:
    """Whether JSON can hold the type's values as they are."""
    if pa.types.is_list(type) or pa.types.is_large_list(type):
        return _is_plain(type.value_type)
    if pa.types.is_struct(type):
        return all(_is_plain(type.field(i).type) for i in range(type.num_fields))
    checks = (pa.types.is_string, pa.types.is_large_string, pa.types.is_integer, pa.types.is_floating)
    return pa.types.is_boolean(type) or pa.types.is_null(type) or any(check(type) for check in checks)
