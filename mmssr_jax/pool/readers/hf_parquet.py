"""Parquet files as on the Hugging Face Hub, image bytes inside the rows, usually one folder per source.

    image: struct<bytes: binary, path: string>, binary, or the path of a file; null for text only
    images: a list of such values
    conversations: list<struct<from: string, value: string>>       LLaVA-OneVision-Data
    messages: list<struct<role: string, content: ...>>             see `pool.messages`
    texts: list<struct<user: string, assistant: string>>           FineVision; rows have no id and no image tags
    other columns, such as id, source or data_source, become fields of the record: dates and times in ISO form

Strings, lists and binaries may be of the large and view types, and strings dictionary-encoded. An image whose bytes are
null is the file `path` beside the Parquet file. A column of another type is an error that names it.
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
from mmssr_jax.core.sample import IMAGE_TAG
from mmssr_jax.pool.limits import MAX_ROW_GROUP_BYTES
from mmssr_jax.pool.reader import Match, NoSettings, PoolFormat, contains
from mmssr_jax.pool.record import Record

# With dictionary encoding, all rows of a small file can share one large value, which is repeated when it is decoded.
_ROWS_AT_ONCE, _TEXT_ROWS_AT_ONCE = 1, 8
_IMAGES = ("image", "images")
_CONVERSATIONS = ("conversations", "messages", "texts")
_EXPECTED = "struct<bytes: binary, path: string>"
_EXPECTED_TEXTS = "list<struct<user: string, assistant: string>>"

_BINARY = (pa.types.is_binary, pa.types.is_large_binary, pa.types.is_binary_view, pa.types.is_fixed_size_binary)
_STRING = (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view)
_LIST = (
    pa.types.is_list, pa.types.is_large_list, pa.types.is_list_view, pa.types.is_large_list_view,
    pa.types.is_fixed_size_list,
)  # fmt: skip
_CAST = (pa.types.is_decimal, pa.types.is_date, pa.types.is_time, pa.types.is_timestamp)
_FLOAT_DIGITS = 15  # decimal digits that a float64 keeps
_SCALAR = (*_STRING, pa.types.is_integer, pa.types.is_floating, pa.types.is_boolean, pa.types.is_null)

_Images = tuple[bytes | None, ...]


class HfParquet:
    """Reads Parquet files of the layouts above; without an image column all samples are text-only.

    Args:
      path: a Parquet file, or a folder whose Parquet files are read in the order of their names.

    Raises:
      UserError: there is no Parquet file, one is not readable, lacks a column, or has a binary column that is not read.
    """

    in_place = False
    settings = None

    def __init__(self, path: Path):
        paths = [path] if path.is_file() else sorted(path.rglob("*.parquet"))
        if not paths:
            raise UserError(f"{path}: holds no Parquet file")
        root = path.parent if path.is_file() else path
        self._names = [p.relative_to(root).with_suffix("").as_posix() for p in paths]
        self.files = tuple(p.resolve() for p in paths)
        self._total = sum(_check(p) for p in self.files)

    def images_root(self, file: int) -> Path:
        return self.files[file].parent

    def records(self, *, images: bool, label: str | None = None, only: int | None = None) -> Iterator[Record]:
        progress = Progress(label, self._total, "records") if label else None
        for file, path in enumerate(self.files):
            if only not in (None, file):
                continue
            for number, row in enumerate(_rows(path, images)):
                if progress is not None:
                    progress.add()
                encoded = _pop_images(row, f"{path.stem}/{number:08d}")
                if "texts" in row:
                    _convert_texts(row, f"{self._names[file]}/{number:08d}", len(encoded))
                value = {k: v for k, v in row.items() if v is not None}
                raw = json.dumps(value).encode()
                yield Record(file, number, -1, raw, value, images=encoded if images else None)


def _check(path: Path) -> int:
    """Checks the columns of a file and returns its number of rows."""
    try:
        metadata = pq.read_metadata(path)
    except (pa.ArrowException, OSError) as e:  # OSError: of a damaged footer
        reason = " ".join(str(e).split())
        raise UserError(f"{path}: not a readable Parquet file ({reason}); if it was cut off, fetch it again") from None
    for group in range(metadata.num_row_groups):
        if (size := metadata.row_group(group).total_byte_size) > MAX_ROW_GROUP_BYTES:
            limit = MAX_ROW_GROUP_BYTES >> 30
            raise UserError(f"{path}: row group {group} has {size} bytes, more than the limit of {limit} GiB")
    schema = metadata.schema.to_arrow_schema()
    if not set(_CONVERSATIONS) & set(schema.names):
        raise UserError(
            f"{path}: has no column {', '.join(map(repr, _CONVERSATIONS))}; it has {', '.join(schema.names)}"
        )
    for field in schema:
        if field.name in _IMAGES and not _is_image(field.type):
            raise UserError(f"{path}: its column {field.name!r} is {field.type}, expected {_EXPECTED} or a list of it")
        if field.name == "texts" and not _is_texts(field.type):
            raise UserError(f"{path}: its column 'texts' is {field.type}, expected {_EXPECTED_TEXTS}")
        if field.name not in _IMAGES and _has_binary(field.type):
            raise UserError(
                f"{path}: its column {field.name!r} holds binary data, which is read from 'image' and 'images' only; "
                f"rename or remove the column"
            )
        if field.name not in _IMAGES and not _is_plain(field.type):
            raise UserError(
                f"{path}: its column {field.name!r} is {field.type}, which has no JSON form; remove it, or make it text"
            )
    return metadata.num_rows


def _rows(path: Path, images: bool) -> Iterator[dict[str, Any]]:
    """The rows of a file; without `images`, image structs lack their bytes where the file's columns permit."""
    file = pq.ParquetFile(path)
    leaves = [file.schema.column(i).path for i in range(len(file.schema))]
    columns: list[str] = []
    for field in file.schema_arrow:
        if field.name in _IMAGES:
            paths = [leaf for leaf in leaves if leaf.startswith(f"{field.name}.") and leaf.endswith(".path")]
            columns += [field.name] if images or not paths else paths
        else:
            columns.append(field.name)
    casts = {f.name: _json_type(f.type) for f in file.schema_arrow if f.name not in _IMAGES and _needs_cast(f.type)}
    at_once = _ROWS_AT_ONCE if set(_IMAGES) & set(columns) else _TEXT_ROWS_AT_ONCE
    number = 0
    try:
        for batch in file.iter_batches(at_once, columns=columns):
            for name, type in casts.items():
                batch = batch.set_column(batch.schema.get_field_index(name), name, batch[name].cast(type))
            for row in range(batch.num_rows):
                yield batch.slice(row, 1).to_pylist()[0]
                number += 1
    except UnicodeDecodeError:
        raise UserError(f"{path}: row {number} holds text that is not UTF-8; repair or remove the row") from None
    except (pa.ArrowException, OSError) as e:
        reason = " ".join(str(e).split())
        raise UserError(f"{path}: damaged at row {number} or after it ({reason}); fetch it again") from None


def _pop_images(row: dict[str, Any], stem: str) -> _Images:
    """Replaces the image columns by the field `image` of paths, and returns the bytes.

    An image without a path is named by `stem` and its number. A null in a list stays in the field as a defect.
    """
    images: list[Any] = []
    for value in (row.pop(name, None) for name in _IMAGES):
        if value is not None:
            images += value if isinstance(value, list) else [value]
    keys: dict[type, str] = {bytes: "bytes", str: "path"}
    structs = [{keys[type(image)]: image} if type(image) in keys else image for image in images]
    names = [s if s is None else s.get("path") or f"{stem}.{i}" for i, s in enumerate(structs)]
    if names:
        row["image"] = names[0] if len(names) == 1 and names[0] is not None else names
    return tuple(None if s is None else s.get("bytes") for s in structs)


def _convert_texts(row: dict[str, Any], id: str, n_images: int) -> None:
    """FineVision's `texts` as `conversations`; the images precede the first question."""
    turns = []
    for text in row.pop("texts") or []:
        text = text or {"user": None, "assistant": None}
        turns += [{"from": "human", "value": text["user"]}, {"from": "gpt", "value": text["assistant"]}]
    if turns and isinstance(turns[0]["value"], str) and not any(IMAGE_TAG in (t["value"] or "") for t in turns):
        turns[0]["value"] = f"{IMAGE_TAG}\n" * n_images + turns[0]["value"]
    row.setdefault("conversations", turns)
    row.setdefault("id", id)


def _is_image(type: pa.DataType) -> bool:
    """Whether a column of this type holds an image or a list of images."""
    if _is(type, _LIST):
        return not _is(type.value_type, _LIST) and _is_image(type.value_type)
    if not pa.types.is_struct(type):
        return _is(type, (*_BINARY, *_STRING))
    fields = {type.field(i).name: type.field(i).type for i in range(type.num_fields)}
    path = fields.get("path", pa.null())
    return "bytes" in fields and _is(fields["bytes"], _BINARY) and (_is(path, _STRING) or pa.types.is_null(path))


def _is_texts(type: pa.DataType) -> bool:
    """Whether a column of this type holds FineVision's pairs of question and answer."""
    if not _is(type, _LIST) or not pa.types.is_struct(type.value_type):
        return False
    fields = {type.value_type.field(i).name for i in range(type.value_type.num_fields)}
    return {"user", "assistant"} <= fields


def _has_binary(type: pa.DataType) -> bool:
    return _is(type, _BINARY) or any(_has_binary(type.field(i).type) for i in range(type.num_fields))


def _is_plain(type: pa.DataType) -> bool:
    """Whether JSON can represent the type's values."""
    if _is(type, _LIST) or pa.types.is_dictionary(type):
        return _is_plain(type.value_type)
    if pa.types.is_struct(type):
        return all(_is_plain(type.field(i).type) for i in range(type.num_fields))
    return _is(type, _SCALAR) or _is(type, _CAST)


def _needs_cast(type: pa.DataType) -> bool:
    """Whether a type holds values that Python's JSON does not write."""
    if _is(type, _LIST):
        return _needs_cast(type.value_type)
    return _is(type, _CAST) or any(_needs_cast(type.field(i).type) for i in range(type.num_fields))


def _json_type(type: pa.DataType) -> pa.DataType:
    """A type with `_CAST` replaced: dates and times by text, decimal numbers by numbers as long as these hold them."""
    if _is(type, _LIST):
        return pa.list_(_json_type(type.value_type))
    if pa.types.is_struct(type):
        return pa.struct([f.with_type(_json_type(f.type)) for f in (type.field(i) for i in range(type.num_fields))])
    if pa.types.is_decimal(type) and type.precision <= _FLOAT_DIGITS:
        return pa.float64() if type.scale > 0 else pa.int64()
    return pa.string() if _is(type, _CAST) else type


def _is(type: pa.DataType, checks: tuple[Any, ...]) -> bool:
    return any(check(type) for check in checks)


def _match(path: Path) -> Match:
    if path.suffix == ".parquet":
        return Match.EXACT
    return Match.CONTENT if contains(path, "*.parquet") else Match.NONE


def _open(path: Path, settings: NoSettings) -> HfParquet:
    return HfParquet(path)


READER = PoolFormat(match=_match, settings=NoSettings, open=_open)
