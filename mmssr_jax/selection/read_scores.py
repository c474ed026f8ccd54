"""Reads score files, and joins other files of numbers by id."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
from absl import logging

from mmssr_jax.core import files, tables
from mmssr_jax.core.errors import UserError
from mmssr_jax.core.progress import Progress
from mmssr_jax.core.vocabulary import SLUGS
from mmssr_jax.selection import score_columns
from mmssr_jax.selection.formats import official
from mmssr_jax.selection.id_index import IdIndex
from mmssr_jax.selection.number_files import Column, NumberFiles, is_number
from mmssr_jax.selection.score_columns import is_list
from mmssr_jax.selection.table import ScoreTable, encode_strings, encode_styles

UNKNOWN_SOURCE = "unknown"  # of rows whose file does not state any, as in a pool


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
    """The identity of scores or numbers: the manifest's digest where a stage wrote them, else that of the files."""
    if path.is_dir() and (path / "manifest.json").exists():
        return files.file_digest(path / "manifest.json")
    official_answers = path.suffix == ".csv" or (path.is_dir() and official.is_answers(path))
    paths = score_files(path) if official_answers else NumberFiles.at(path).paths
    return files.digest(" ".join(files.file_digest(p) for p in paths))


def is_score_table(path: Path) -> bool:
    """Whether a path holds scores in the layout of `core.tables`, and not only ids and numbers.

    Raises:
      UserError: nothing readable is there.
    """
    found = NumberFiles.at(path)
    return found.is_parquet and "styles" in files.read_parquet_schema(found.paths[0]).names


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


def read_scores(path: Path, capabilities: Sequence[str] = (), *, calibrated: bool = False) -> ScoreTable:
    """Reads a score table in the layout of `core.tables`.

    Args:
      path: a folder of parts or a Parquet file: `id`, `source`, `styles`, one column per capability, optionally
        `n_tokens`.
      capabilities: the columns to read, in this order; all if empty.
      calibrated: take the capabilities' calibrated scores.

    Raises:
      UserError: a file is missing or unreadable, a column is missing or has a wrong type, or a score is out of range.
    """
    parts = score_files(path)
    available = score_columns.capabilities(parts)
    chosen = tuple(capabilities) or available
    unknown = [c for c in chosen if c not in available]
    if unknown:
        raise UserError(f"{path}: has no capability {unknown[0]!r}; there are {', '.join(available) or 'none'}")
    columns = {slug: tables.calibrated_name(slug) if calibrated else slug for slug in chosen}
    lacking = sorted(set(columns.values()) - set(files.read_parquet_schema(parts[0]).names))
    if lacking:
        raise UserError(
            f"{path}: has no calibrated scores ({lacking[0]}); score with --config.score.calibration=fit, or set "
            "calibrated=false"
        )
    progress = Progress(f"reading {path.name}", len(chosen) + 3, "columns")
    ids = score_columns.strings(parts, "id")
    progress.add()
    source, source_names = encode_strings(score_columns.strings(parts, "source"))
    progress.add()
    styles, style_names = encode_styles(score_columns.column(parts, "styles"))
    progress.add()
    n_tokens = score_columns.token_counts(parts) if "n_tokens" in files.read_parquet_schema(parts[0]).names else None
    scores = {slug: score_columns.numbers(parts, columns[slug]) for slug in progress.over(chosen)}
    table = ScoreTable(ids, source, source_names, styles, style_names, scores, n_tokens)
    table.check_scores()
    return table


def capability_columns(path: Path, named: Collection[str] = (), *, refuse: bool = True) -> tuple[str, ...]:
    """The columns of a score table that are capabilities: those of the vocabulary and those that settings name.

    A table that holds none of the vocabulary's has capabilities of its own: all its columns of numbers. In other tables
    a further column of numbers, such as a number of turns, must not be taken for a capability by accident.

    Args:
      path: a score folder or file in the layout of `core.tables`.
      named: the capabilities that a selection names; empty if it takes all.
      refuse: whether a further column is an error if none is named; otherwise it is ignored.

    Raises:
      UserError: there is a further column, and nothing is named.
    """
    available = score_columns.capabilities(score_files(path))
    known = [slug for slug in available if slug in SLUGS or slug in named]
    if not set(available) & set(SLUGS):
        return available
    further = [slug for slug in available if slug not in known]
    if further and refuse and not named:
        raise UserError(
            f"{path}: the columns {', '.join(further)} are not capabilities of core/vocabulary.py; name the ones to "
            "select by (--config.select.selections.NAME.capabilities=A,B), or leave the others out of the file"
        )
    if further:
        logging.warning("%s: columns that are not capabilities are ignored: %s", path, ", ".join(further))
    return tuple(known)


def join_scores(table: ScoreTable, path: Path, named: Collection[str] = ()) -> ScoreTable:
    """Joins the capabilities of other files by id, read in pieces; NaN where they lack an id.

    Args:
      table: the scores.
      path: files of numbers (see `number_files`): of their columns those in `named` and those of the vocabulary; if
        there are none of either, all.
      named: the capabilities that a selection names.

    Raises:
      UserError: there is no capability, or one that the table has already; an id occurs twice; no id is in common.
    """
    found = NumberFiles.at(path)
    available = tables.capability_slugs(pa.schema([(n, pa.float32()) for n in _numbers_of(found, named)]))
    slugs = [name for name in available if name in SLUGS or name in named] or list(available)
    again = next((slug for slug in slugs if slug in table.scores), None)
    if again is not None:
        raise UserError(f"{path}: the scores have the capability {again} already; rename one of them")
    if not slugs:
        raise UserError(f"{path}: has no column with scores of a capability")
    joined = _join(table, found, slugs, what="scores")
    result = dataclasses.replace(table, scores={**table.scores, **joined})
    result.check_scores()
    return result


def _numbers_of(found: NumberFiles, named: Collection[str]) -> tuple[str, ...]:
    """The columns of numbers; of JSON those that are named, if any are, since it has no schema."""
    return tuple(named) if named and not found.is_parquet else found.names()


def join_features(
    table: ScoreTable, path: Path, vectors: Collection[str] = (), names: Collection[str] = ()
) -> ScoreTable:
    """Joins the columns of a feature file or folder by id, read in pieces; NaN where that one lacks an id.

    Args:
      table: the scores.
      path: files of numbers (see `number_files`); of Parquet also columns of lists of numbers.
      vectors: the lists to join, which may take much memory; they become matrices, padded with NaN to the longest.
      names: the numbers to join; all if empty.

    Raises:
      UserError: it has no such column, or one that the features have already; an id occurs twice; no id is in common.
    """
    found = NumberFiles.at(path).with_rows()
    numbers = list(_numbers_of(found, names))
    lists: list[str] = []
    if found.is_parquet:
        schema = files.read_parquet_schema(found.paths[0])
        lists = [f.name for f in schema if is_list(f.type) and is_number(f.type.value_type)]
        if not numbers and not lists:
            raise UserError(f"{path}: has no column of numbers or vectors")
    numbers = [name for name in numbers if not names or name in names]
    wanted = [name for name in lists if name in vectors]
    columns = _join(table, found, numbers, what="pool")
    again = next((name for name in (*columns, *wanted) if name in table.features), None)
    if again is not None:
        raise UserError(f"{path}: the feature {again} is in another table too; rename one of them")
    if wanted:
        index = IdIndex(table.ids)
        rows = np.concatenate([index.rows(c) for c in score_columns.strings(found.paths, "id").chunks])
        for name in wanted:
            matrix = score_columns.matrix(found.paths, name)
            columns[name] = np.full((len(table), matrix.shape[1]), np.nan, np.float32)
            columns[name][rows[rows >= 0]] = matrix[rows >= 0]
    return dataclasses.replace(table, features={**table.features, **columns})


def _join(table: ScoreTable, found: NumberFiles, names: Sequence[str], *, what: str) -> dict[str, np.ndarray]:
    """Columns of files, float32 [rows of the table]; those that no piece has are left out.

    Raises:
      UserError: an id occurs twice, or none is in common with the table.
    """
    index, seen = IdIndex(table.ids), np.zeros(len(table), bool)
    columns: dict[str, np.ndarray] = {}
    for piece in found.pieces(names):
        rows = index.rows(piece.ids)
        hit = np.flatnonzero(rows >= 0)
        rows = rows[hit]
        twice = seen[rows]
        twice[np.setdiff1d(np.arange(len(rows)), np.unique(rows, return_index=True)[1])] = True
        if twice.any():
            again = piece.ids[int(hit[np.argmax(twice)])].as_py()
            raise UserError(
                f"{found.path}: id {again!r} occurs more than once; give every row of the table a unique id"
            )
        seen[rows] = True
        for name, values in piece.numbers.items():
            if name not in columns:
                columns[name] = np.full(len(table), np.nan, np.float32)
            columns[name][rows] = values[hit]
    if len(table) and not seen.any():
        raise UserError(f"{found.path}: has no id in common with the {what}")
    logging.info("%s: %d of %d samples have values", found.path, int(np.count_nonzero(seen)), len(table))
    return columns


def read_numbers(path: Path, names: Sequence[str] | None) -> ScoreTable:
    """A table whose rows are those of files of numbers (see `number_files`).

    Args:
      path: the files.
      names: the columns that become features, as far as the files have them; None for all.

    Raises:
      UserError: a file is not readable.
    """
    found = NumberFiles.at(path)
    names = found.names() if names is None else names
    ids: list[pa.Array] = []
    sources: list[pa.Array] = []
    columns: dict[str, Column] = {}
    rows = found.rows()
    for piece in found.pieces(names):
        count = len(piece.ids)
        ids.append(piece.ids)
        unknown = pa.array([UNKNOWN_SOURCE]).take(pa.array(np.zeros(count, np.int64)))
        sources.append((unknown if piece.sources is None else piece.sources).dictionary_encode())
        for name in names:
            if name not in columns and name in piece.numbers:
                columns[name] = Column(rows)
                columns[name].extend(None, sum(map(len, ids[:-1])))
            if name in columns:
                columns[name].extend(piece.numbers.get(name), count)
    pa.default_memory_pool().release_unused()  # the buffers of all pieces, which it would keep
    source, source_names = encode_strings(pa.chunked_array(sources, pa.dictionary(pa.int32(), pa.string())))
    features = {name: columns[name].array() for name in names if name in columns}
    styles: np.ndarray = np.zeros((len(source), 0), np.int16)
    return ScoreTable(pa.chunked_array(ids, pa.string()), source, source_names, styles, (), {}, None, features)
