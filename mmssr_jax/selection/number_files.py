"""Files of ids and numbers that others made (ratings, annotations, statistics), read in pieces.

    *.parquet   `id`, `__key__` or `uid`, and columns of numbers; or FineVision's layout, whose rows have no id
    *.jsonl     an object a line: `id`, `__key__` or `uid`, and numbers
    *.json      {KEY: {numbers}, ...}, as DataComp-VLM annotates a shard; or a list of objects as in JSONL

A folder holds any number of files of one kind, in subfolders too. Only the columns asked for are kept, and only one
piece of a file is in memory: of JSON, one file. A number inside another object is named by both names with a dot.

Sources: https://huggingface.co/datasets/mlfoundations/dcvlm_pool_small_annotations,
https://huggingface.co/datasets/HuggingFaceM4/FineVision
"""

from __future__ import annotations

import dataclasses
import itertools
import json
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from mmssr_jax.core import files, tables
from mmssr_jax.core.errors import UserError

SUFFIXES = (".parquet", ".jsonl", ".json")
ID_COLUMNS = ("id", "__key__", "uid")
_METADATA = ("dataset_info.json", "dataset_infos.json", "state.json", "manifest.json")
_ROWS_AT_ONCE = 1 << 17
_TEXTS = "texts"  # FineVision's conversations

Object = Mapping[str, Any]


@dataclasses.dataclass(frozen=True)
class Piece:
    """Some rows of a file.

    Attributes:
      ids: strings [N].
      numbers: float32 [N] by column; NaN = no value. A column that none of the rows has may be left out.
      sources: strings [N], or None where the file does not say.
    """

    ids: pa.Array
    numbers: dict[str, np.ndarray]
    sources: pa.Array | None


@dataclasses.dataclass(frozen=True)
class NumberFiles:
    """The files of one path, in order.

    Attributes:
      path: the file or folder that the user gave.
      paths: the files.
    """

    path: Path
    paths: tuple[Path, ...]

    @classmethod
    def at(cls, path: Path) -> NumberFiles:
        """The files of a path: a file, the parts of a table, or all files of one kind in a folder.

        Hidden files, and those that `datasets` and this program describe a folder with, are left out.

        Raises:
          UserError: there is none, parts are missing, or the folder holds several kinds.
        """
        if path.is_file():
            if path.suffix not in SUFFIXES:
                raise UserError(f"{path}: expected a file of the kind {', '.join(SUFFIXES)}")
            return cls(path, (path,))
        if not path.exists():
            raise UserError(f"{path}: no such score file or folder")
        if any(path.glob("part-*.parquet")):
            return cls(path, tuple(tables.part_files(path)))
        found = [p for p in sorted(path.rglob("*")) if p.suffix in SUFFIXES and not _is_metadata(p, path)]
        kinds = sorted({p.suffix for p in found})
        if len(kinds) > 1:
            raise UserError(f"{path}: holds files of the kinds {' and '.join(kinds)}; give a folder of one kind")
        if not found:
            raise UserError(f"{path}: holds no score table (part-00000-of-0000N.parquet), and no JSON of numbers")
        return cls(path, tuple(found))

    @property
    def is_parquet(self) -> bool:
        """Whether the files have schemas."""
        return self.paths[0].suffix == ".parquet"

    def with_rows(self) -> NumberFiles:
        """Without the Parquet files that hold no row, whose columns are not known: a part of rejected samples alone."""
        kept = tuple(path for path in self.paths if not self.is_parquet or tables.num_rows(path))
        return dataclasses.replace(self, paths=kept or self.paths[:1])

    def names(self) -> tuple[str, ...]:
        """The columns of numbers of all files; those of JSON sorted, and read whole for it.

        Raises:
          UserError: a file is not readable.
        """
        if self.is_parquet:
            schemas = (files.read_parquet_schema(path) for path in self.paths)
            return tuple(dict.fromkeys(f.name for schema in schemas for f in schema if is_number(f.type)))
        found: set[str] = set()
        for path in self.paths:
            for _, fields in _objects(path):
                found.update(name for name, value in _flat(fields) if _is_value(value))
        return tuple(sorted(found - set(ID_COLUMNS)))

    def rows(self) -> int:
        """The number of rows; 0 for JSON, which does not say.

        Raises:
          UserError: a file is not readable.
        """
        return sum(map(tables.num_rows, self.paths)) if self.is_parquet else 0

    def pieces(self, names: Collection[str]) -> Iterator[Piece]:
        """All rows with the columns `names`, as far as a file has them.

        Raises:
          UserError: a file is not readable, has no ids, or a column is not of numbers.
        """
        for path in self.paths:
            yield from (_parquet_pieces if self.is_parquet else _json_pieces)(path, names, self.name(path))

    def name(self, path: Path) -> str:
        """The path of a file without its suffix, relative to the folder: "ai2d/000000"."""
        root = self.path if self.path.is_dir() else self.path.parent
        return path.relative_to(root).with_suffix("").as_posix()


def _is_metadata(path: Path, root: Path) -> bool:
    hidden = any(part.startswith(".") for part in path.relative_to(root).parts)
    return hidden or path.name in _METADATA or not path.is_file()


def is_number(kind: pa.DataType) -> bool:
    """Whether a column of this type holds numbers."""
    return pa.types.is_floating(kind) or pa.types.is_integer(kind) or pa.types.is_boolean(kind)


def row_ids(name: str, begin: int, count: int) -> pa.Array:
    """The ids [count] of FineVision's rows: the file's name, and the number of the row in it, from `begin`."""
    return pa.array([f"{name}/{number:08d}" for number in range(begin, begin + count)], pa.string())


def _parquet_pieces(path: Path, names: Collection[str], name: str) -> Iterator[Piece]:
    schema = files.read_parquet_schema(path)
    id_column = next((c for c in ID_COLUMNS if c in schema.names), None)
    if id_column is None and _TEXTS not in schema.names:
        raise UserError(f"{path}: has no column {', '.join(ID_COLUMNS)}; it has {', '.join(schema.names)}")
    wanted = [n for n in names if n in schema.names]
    wrong = next((n for n in wanted if not is_number(schema.field(n).type)), None)
    if wrong is not None:
        raise UserError(f"{path}: the column {wrong} holds {schema.field(wrong).type}, not numbers")
    further = [c for c in (id_column, "source") if c is not None and c in schema.names]
    begin = 0
    with files.reading_parquet(path):
        for batch in pq.ParquetFile(path).iter_batches(_ROWS_AT_ONCE, columns=[*further, *wanted]):
            batch.validate(full=True)
            ids = row_ids(name, begin, len(batch)) if id_column is None else _ids(batch[id_column], path, id_column)
            begin += len(ids)
            numbers = {n: batch[n].cast(pa.float32()).to_numpy(zero_copy_only=False) for n in wanted}
            stated = "source" in schema.names and _is_text(schema.field("source").type)
            yield Piece(ids, numbers, batch["source"].cast(pa.string()) if stated else _folder(name, len(ids)))


def _ids(column: pa.Array, path: Path, name: str) -> pa.Array:
    """The ids as strings [N]; numbers are written as text, as the pool's are."""
    if not (_is_text(column.type) or pa.types.is_integer(column.type)):
        raise UserError(f"{path}: the column {name} holds {column.type}, not strings")
    if column.null_count:
        raise UserError(f"{path}: {column.null_count} rows have no {name}")
    return column.cast(pa.string())


def _is_text(kind: pa.DataType) -> bool:
    kind = kind.value_type if pa.types.is_dictionary(kind) else kind
    return pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)


def _folder(name: str, count: int) -> pa.Array | None:
    """The source that a file's folder stands for: of "ai2d/000000" it is "ai2d"; none for a file in no folder."""
    folder, _, _ = name.rpartition("/")
    return pa.array([folder], pa.string()).take(pa.array(np.zeros(count, np.int64))) if folder else None


def _json_pieces(path: Path, names: Collection[str], name: str) -> Iterator[Piece]:
    rows = _objects(path)
    while block := list(itertools.islice(rows, _ROWS_AT_ONCE)):
        try:
            ids = pa.array([id for id, _ in block], pa.string())
        except UnicodeEncodeError:
            raise UserError(f"{path}: an id holds a lone surrogate, which UTF-8 cannot write") from None
        numbers = {n: _column(n, (fields for _, fields in block)) for n in names}
        yield Piece(ids, {n: c for n, c in numbers.items() if not np.isnan(c).all()}, _folder(name, len(ids)))


def _column(name: str, rows: Iterable[Object]) -> np.ndarray:
    """float32 [N]: one field of all rows; NaN where it is missing or no number."""
    head, _, rest = name.partition(".")
    values = (row[name] if name in row else _at(row.get(head), rest) for row in rows)
    return np.array([v if _is_value(v) else np.nan for v in values], np.float32)


def _is_value(value: Any) -> bool:
    """Whether a JSON value is a number; integers of hundreds of digits are not, since no float holds them."""
    return isinstance(value, float) or (isinstance(value, int) and abs(value) < 1 << 63)


def _at(value: Any, name: str) -> Any:
    """The field of nested objects with that dotted name, or None."""
    while isinstance(value, dict) and name:
        if name in value:
            return value[name]
        head, _, name = name.partition(".")
        value = value.get(head)
    return None


def _flat(fields: Object, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """The fields of nested objects, by their dotted names."""
    for name, value in fields.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def _objects(path: Path) -> Iterator[tuple[str, Object]]:
    """The ids and objects of a JSON file.

    Raises:
      UserError: it is not JSON, an element is not an object, or one has no id.
    """
    if path.suffix == ".jsonl":
        yield from _identified(_lines(path), path)
        return
    content = files.read_json(path)
    if isinstance(content, list):
        yield from _identified(content, path)
    elif isinstance(content, dict):
        for key, fields in content.items():
            if not isinstance(fields, dict):
                raise UserError(f"{path}: {key!r} is a {type(fields).__name__}, expected an object of numbers")
            yield key, fields
    else:
        raise UserError(f"{path}: expected an object or a list, got {type(content).__name__}")


def _lines(path: Path) -> Iterator[Any]:
    with open(path, "rb") as f:
        for number, line in enumerate(f, 1):
            if line.strip():
                try:
                    yield json.loads(line)
                except (ValueError, RecursionError) as e:
                    raise UserError(f"{path}:{number}: not valid JSON ({e})") from None


def _identified(rows: Iterable[Any], path: Path) -> Iterator[tuple[str, Object]]:
    for number, row in enumerate(rows, 1):
        id = next((row[c] for c in ID_COLUMNS if c in row), None) if isinstance(row, dict) else None
        if not isinstance(id, (str, int)):
            raise UserError(f"{path}: record {number} is not an object with {', '.join(ID_COLUMNS)}")
        yield str(id), row


class Column:
    """A column of numbers that grows by pieces; unlike a list of pieces it is never in memory twice.

    Args:
      rows: the number of rows if it is known, else 0.
    """

    def __init__(self, rows: int):
        self._values: np.ndarray = np.empty(rows, np.float32)
        self._length = 0

    def extend(self, piece: np.ndarray | None, count: int) -> None:
        """Appends a piece, float32 [count], or missing values."""
        end = self._length + count
        if end > len(self._values):
            grown: np.ndarray = np.empty(max(end, 2 * len(self._values)), np.float32)
            grown[: self._length] = self._values[: self._length]
            self._values = grown
        self._values[self._length : end] = np.nan if piece is None else piece
        self._length = end

    def array(self) -> np.ndarray:
        """float32 [rows]: all pieces."""
        return self._values[: self._length]
