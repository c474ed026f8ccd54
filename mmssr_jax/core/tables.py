"""The tables between the stages: judgments and scores, as Parquet with one column per capability.

id: string | source: string | <slug>: int8 (judgments) or float32 (scores) ... | styles: list<string>, main first

A score table may also hold `<slug>_calibrated` (see `scoring.calibration`), `nll` and `nll_blind` (mean -log p of the
answers with and without the images); they are not capabilities.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from mmssr_jax.core import files
from mmssr_jax.core.errors import UserError

_PART = re.compile(r"part-(\d{5})-of-(\d{5})\.parquet")
_NOT_CAPABILITIES = ("id", "source", "styles", "n_tokens", "nll", "nll_blind", "judge", "prompt_hash")
_CALIBRATED = "_calibrated"


def judgment_schema(slugs: Sequence[str]) -> pa.Schema:
    """Columns of `judge/judgments.parquet`: one row a judged sample; integer scores 0-5."""
    return pa.schema(
        [("id", pa.string()), ("source", pa.string())]
        + [(s, pa.int8()) for s in slugs]
        + [("styles", pa.list_(pa.string())), ("judge", pa.string()), ("prompt_hash", pa.string())]
    )


def score_schema(slugs: Sequence[str], further: Sequence[str] = ()) -> pa.Schema:
    """Columns of `scores/part-*.parquet`: one row per sample; expected scores, 0-5, and columns `further`."""
    return pa.schema(
        [("id", pa.string()), ("source", pa.string())]
        + [(s, pa.float32()) for s in slugs]
        + [("styles", pa.list_(pa.string())), ("n_tokens", pa.int32())]
        + [(name, pa.float32()) for name in further]
    )


def capability_slugs(table: pa.Table | pa.Schema) -> tuple[str, ...]:
    """The capability columns of a judgment or score table, in order."""
    schema = table.schema if isinstance(table, pa.Table) else table
    names = set(schema.names)
    calibrated = {calibrated_name(n) for n in names}
    return tuple(n for n in schema.names if n not in _NOT_CAPABILITIES and n not in calibrated)


def calibrated_name(slug: str) -> str:
    """The column of a capability's calibrated scores."""
    return f"{slug}{_CALIBRATED}"


def matrix(table: pa.Table, slugs: Sequence[str]) -> np.ndarray:
    """The named columns as float32 [rows, capabilities]; null becomes NaN.

    Raises:
      UserError: a column is not there, or does not hold numbers.
    """
    missing = [s for s in slugs if s not in table.schema.names]
    if missing:
        raise UserError(
            f"the table has no column {', '.join(missing)}; its capabilities are {', '.join(capability_slugs(table))}"
        )
    if not slugs:
        return np.zeros((table.num_rows, 0), np.float32)
    return np.stack([_numbers(table, s) for s in slugs], axis=1)


def _numbers(table: pa.Table, name: str) -> np.ndarray:
    """One column as float32 [rows]."""
    kind = table.schema.field(name).type
    if not (pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_null(kind)):
        raise UserError(f"the table's column {name} holds {kind} where scores are expected")
    return table[name].cast(pa.float32(), safe=False).to_numpy(zero_copy_only=False).astype(np.float32)


def part_name(part: int, parts: int) -> str:
    """`part-00003-of-00016.parquet`."""
    return f"part-{part:05d}-of-{parts:05d}.parquet"


def part_files(folder: Path) -> list[Path]:
    """All parts of a sharded table, in order.

    Raises:
      UserError: there is none, one is missing or numbered too high, or two layouts are mixed.
    """
    found = sorted(p for p in folder.glob("part-*.parquet") if _PART.fullmatch(p.name))
    if not found:
        raise UserError(f"{folder}: holds no score table (part-00000-of-0000N.parquet)")
    totals = {int(_PART.fullmatch(p.name)[2]) for p in found}  # type: ignore[index]
    if len(totals) > 1:
        raise UserError(f"{folder}: parts of different layouts are mixed ({', '.join(map(str, sorted(totals)))} parts)")
    (total,) = totals
    present = {p.name for p in found}
    expected = {part_name(i, total) for i in range(total)}
    if extra := sorted(present - expected):
        raise UserError(f"{folder}: {extra[0]} is numbered beyond the last of its {total} parts")
    absent = sorted(expected - present)
    if absent:
        raise UserError(f"{folder}: {len(absent)} of {total} parts are missing, the first is {absent[0]}")
    return found


def read_parts(folder: Path, columns: list[str] | None = None) -> pa.Table:
    """Concatenates the parts of a sharded table.

    Raises:
      UserError: as `part_files` and `files.read_parquet`, or two parts have different columns.
    """
    paths = part_files(folder)
    parts = [files.read_parquet(p, columns) for p in paths]
    for path, part in zip(paths, parts, strict=True):
        if not part.schema.equals(parts[0].schema):
            raise UserError(f"{path}: its columns or their types are not those of {paths[0].name}")
    return pa.concat_tables(parts)


def num_rows(path: Path) -> int:
    """The number of rows of a Parquet file, by its footer.

    Raises:
      UserError: the file is missing, or not Parquet.
    """
    with files.reading_parquet(path):
        return pq.read_metadata(path).num_rows
