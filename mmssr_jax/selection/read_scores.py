"""Reads score files: Parquet parts column by column, so that no column is held twice in memory."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from mmssr_jax.core import files, tables
from mmssr_jax.core.errors import UserError
from mmssr_jax.core.progress import Progress
from mmssr_jax.selection.candidates import positions
from mmssr_jax.selection.formats import official
from mmssr_jax.selection.table import ScoreTable, encode_strings, encode_styles
from mmssr_jax.selection.tie_break import tie_keys


def score_files(path: Path) -> list[Path]:
    """The files of a score folder (its parts in order, or the official program's answers), or the file itself.

    Raises:
      UserError: nothing is there, or parts are missing.
    """
    if path.is_dir() and official.is_answers(path):
        return sorted(path.glob("*.jsonl"))
    if path.is_dir():
        return tables.part_files(path)
    if not path.exists():
        raise UserError(f"{path}: no such score file or folder")
    return [path]


def scores_digest(path: Path) -> str:
    """The identity of scores: the manifest's digest where a stage wrote them, the files' digest elsewhere."""
    if path.is_dir() and (path / "manifest.json").exists():
        return files.file_digest(path / "manifest.json")
    return files.digest(" ".join(files.file_digest(p) for p in score_files(path)))


def read_official(path: Path, sources: Callable[[], Mapping[str, str]]) -> ScoreTable | None:
    """Scores that the official program wrote (a folder of answers, or its parsed csv); None for other paths.

    Args:
      path: the folder or file.
      sources: returns the source of each id of the pool.

    Raises:
      UserError: see `formats.official`.
    """
    if path.is_dir() and official.is_answers(path):
        return ScoreTable.from_arrow(official.read_jsonl(path, sources()))
    if path.suffix == ".csv":
        return ScoreTable.from_arrow(official.read_csv(path, sources()))
    return None


def read_scores(path: Path, capabilities: Sequence[str] = ()) -> ScoreTable:
    """Reads a score table in the layout of `core.tables`.

    Args:
      path: a folder of parts or a Parquet file: `id`, `source`, `styles`, one column per capability, optionally
        `n_tokens`.
      capabilities: the columns to read, in this order; all if empty.

    Raises:
      UserError: a file is missing or unreadable, a column is missing or has a wrong type, or a score is out of range.
    """
    parts = score_files(path)
    available = _capabilities(parts)
    chosen = tuple(capabilities) or available
    unknown = [c for c in chosen if c not in available]
    if unknown:
        raise UserError(f"{path}: has no capability {unknown[0]!r}; there are {', '.join(available) or 'none'}")
    progress = Progress(f"reading {path.name}", len(chosen) + 3, "columns")
    ids = _strings(parts, "id")
    progress.add()
    source, source_names = encode_strings(_strings(parts, "source"))
    progress.add()
    styles, style_names = encode_styles(_column(parts, "styles"))
    progress.add()
    n_tokens = (
        _numbers(parts, "n_tokens", np.int32) if "n_tokens" in files.read_parquet_schema(parts[0]).names else None
    )
    scores = {slug: _numbers(parts, slug, np.float32) for slug in progress.over(chosen)}
    table = ScoreTable(ids, source, source_names, styles, style_names, scores, n_tokens)
    table.check_scores()
    return table


def join_scores(table: ScoreTable, path: Path) -> ScoreTable:
    """Joins the capabilities of another score file or folder by id; NaN where that one lacks an id.

    Raises:
      UserError: it has no capability, or one that the table has already; an id occurs twice; no id is in common.
    """
    parts = score_files(path)
    slugs = _capabilities(parts)
    again = next((slug for slug in slugs if slug in table.scores), None)
    if again is not None:
        raise UserError(f"{path}: the scores have the capability {again} already; rename one of them")
    if not slugs:
        raise UserError(f"{path}: has no column with scores of a capability")
    other = _strings(parts, "id")
    tie_keys(other, seed=0)  # rejects repeated ids
    rows = positions(other, table.ids)
    if not (rows >= 0).any():
        raise UserError(f"{path}: has no id in common with the scores")
    result = dataclasses.replace(table, scores={**table.scores, **_joined(parts, slugs, rows, len(table))})
    result.check_scores()
    return result


def join_features(table: ScoreTable, path: Path, vectors: Collection[str] = ()) -> ScoreTable:
    """Joins the columns of a feature file or folder by id; NaN where that one lacks an id.

    Args:
      table: the scores.
      path: Parquet with `id`, columns of numbers, and columns of lists of numbers.
      vectors: the lists to join, which may take much memory; they become matrices, padded with NaN to the longest.
        Numbers are always joined.

    Raises:
      UserError: it has no such column, or one that the features have already; an id occurs twice; no id is in common.
    """
    parts = score_files(path)
    schema = files.read_parquet_schema(parts[0])
    names = [f.name for f in schema if _is_number(f.type)]
    lists = [f.name for f in schema if _is_list(f.type) and _is_number(f.type.value_type)]
    wanted = [name for name in lists if name in vectors]
    again = next((name for name in (*names, *wanted) if name in table.features), None)
    if again is not None:
        raise UserError(f"{path}: the feature {again} is in another table too; rename one of them")
    if not names and not lists:
        raise UserError(f"{path}: has no column of numbers or vectors")
    other = _strings(parts, "id")
    tie_keys(other, seed=0)  # refuses an id that is there twice
    rows = positions(other, table.ids)
    if not (rows >= 0).any():
        raise UserError(f"{path}: has no id in common with the pool")
    columns = _joined(parts, names, rows, len(table))
    for name in wanted:
        matrix = _matrix(parts, name)
        columns[name] = np.full((len(table), matrix.shape[1]), np.nan, np.float32)
        columns[name][rows[rows >= 0]] = matrix[rows >= 0]
    return dataclasses.replace(table, features={**table.features, **columns})


def _is_number(kind: pa.DataType) -> bool:
    return pa.types.is_floating(kind) or pa.types.is_integer(kind)


def _is_list(kind: pa.DataType) -> bool:
    return pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)


def _joined(parts: Sequence[Path], names: Sequence[str], rows: np.ndarray, length: int) -> dict[str, np.ndarray]:
    """Columns scattered to `rows` of a table of `length` rows; NaN elsewhere, -1 is skipped."""
    columns = {}
    for name in names:
        columns[name] = np.full(length, np.nan, np.float32)
        columns[name][rows[rows >= 0]] = _numbers(parts, name, np.float32)[rows >= 0]
    return columns


def _capabilities(parts: Sequence[Path]) -> tuple[str, ...]:
    """The capability columns, the same in every part.

    Raises:
      UserError: a part is not a Parquet file, or its columns differ from the first part's.
    """
    first: tuple[str, ...] | None = None
    for part in parts:
        slugs = tables.capability_slugs(files.read_parquet_schema(part))
        if first is not None and slugs != first:
            raise UserError(
                f"{part}: its capabilities differ from those of {parts[0].name}; score the pool again as one table"
            )
        first = slugs
    return first or ()


def _column(parts: Sequence[Path], name: str) -> pa.ChunkedArray:
    """One column of all parts; repeated strings dictionary-encoded.

    Raises:
      UserError: a part lacks the column, or its type differs.
    """
    chunks, repeated = [], {"source": ["source"], "styles": ["styles.list.element", "styles.list.item"]}
    for part in parts:
        schema = files.read_parquet_schema(part)
        if name not in schema.names:
            raise UserError(f"{part}: has no column {name}; it has {', '.join(schema.names)}")
        with files.reading_parquet(part):
            column = pq.read_table(part, columns=[name], read_dictionary=repeated.get(name))[name]
            column.validate(full=True)
        chunks.append(column)
    try:
        return pa.chunked_array([c for column in chunks for c in column.chunks], chunks[0].type)
    except pa.ArrowInvalid:
        types = sorted({str(c.type) for c in chunks})
        raise UserError(f"{parts[0].parent}: the parts' column {name} differs in type ({', '.join(types)})") from None


def _strings(parts: Sequence[Path], name: str) -> pa.ChunkedArray:
    """A string column without nulls."""
    column = _column(parts, name)
    kind = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
    if not (pa.types.is_string(kind) or pa.types.is_large_string(kind)):
        raise UserError(f"{parts[0]}: the column {name} holds {kind}, not strings")
    if column.null_count:
        raise UserError(f"{parts[0].parent}: {column.null_count} rows have no {name}")
    return column


def _numbers(parts: Sequence[Path], name: str, dtype: type) -> np.ndarray:
    """A numeric column as one array; a null becomes NaN.

    Raises:
      UserError: the column is not numeric, or is an integer column with nulls.
    """
    out: np.ndarray = np.empty(sum(map(_num_rows, parts)), dtype)
    begin = 0
    for part in parts:
        column = _column([part], name)
        if not _is_number(column.type):
            raise UserError(f"{part}: the column {name} holds {column.type}, not numbers")
        if column.null_count and not np.issubdtype(dtype, np.floating):
            raise UserError(f"{part}: {column.null_count} rows have no {name}; give every row one, or drop the column")
        for chunk in column.chunks:
            out[begin : begin + len(chunk)] = chunk.to_numpy(zero_copy_only=False)
            begin += len(chunk)
    return out


def _num_rows(part: Path) -> int:
    with files.reading_parquet(part):
        return pq.read_metadata(part).num_rows


def _matrix(parts: Sequence[Path], name: str) -> np.ndarray:
    """A column of lists as float32 [rows, longest], padded with NaN."""
    column = _column(parts, name)
    lengths = pc.fill_null(pc.list_value_length(column), 0).to_numpy().astype(np.int64)
    matrix = np.full((len(lengths), int(lengths.max(initial=0))), np.nan, np.float32)
    matrix[np.arange(matrix.shape[1]) < lengths[:, None]] = pc.list_flatten(column).to_numpy()
    return matrix
