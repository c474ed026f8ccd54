"""Single columns of score files in Parquet, read part by part, so that no column is held twice in memory."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from mmssr_jax.core import files, tables
from mmssr_jax.core.errors import UserError
from mmssr_jax.selection.number_files import is_number
from mmssr_jax.selection.table import checked_token_counts


def capabilities(parts: Sequence[Path]) -> tuple[str, ...]:
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


def is_list(kind: pa.DataType) -> bool:
    """Whether a column of this type holds lists."""
    return pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)


def column(parts: Sequence[Path], name: str) -> pa.ChunkedArray:
    """One column of all parts, [rows]; repeated strings dictionary-encoded.

    Raises:
      UserError: a part lacks the column, or its type differs.
    """
    chunks, repeated = [], {"source": ["source"], "styles": ["styles.list.element", "styles.list.item"]}
    for part in parts:
        schema = files.read_parquet_schema(part)
        if name not in schema.names:
            raise UserError(f"{part}: has no column {name}; it has {', '.join(schema.names)}")
        with files.reading_parquet(part):
            dictionary = repeated.get(name)
            values = pq.read_table(part, columns=[name], read_dictionary=dictionary, page_checksum_verification=True)[
                name
            ]
            values.validate(full=True)
        if len(values) != (rows := tables.num_rows(part)):
            raise UserError(f"{part}: damaged, its column {name} has {len(values)} of {rows} rows")
        chunks.append(values)
    try:
        return pa.chunked_array([c for values in chunks for c in values.chunks], chunks[0].type)
    except pa.ArrowException:  # ArrowInvalid or ArrowTypeError, by the types
        types = sorted({str(c.type) for c in chunks})
        raise UserError(f"{parts[0].parent}: the parts' column {name} differs in type ({', '.join(types)})") from None


def strings(parts: Sequence[Path], name: str) -> pa.ChunkedArray:
    """A string column without nulls."""
    values = column(parts, name)
    kind = values.type.value_type if pa.types.is_dictionary(values.type) else values.type
    if not (pa.types.is_string(kind) or pa.types.is_large_string(kind)):
        raise UserError(f"{parts[0]}: the column {name} holds {kind}, not strings")
    if values.null_count:
        raise UserError(f"{parts[0].parent}: {values.null_count} rows have no {name}")
    return values.cast(kind) if name == "id" else values  # ids are looked up, so their type is that of other tables


def numbers(parts: Sequence[Path], name: str) -> np.ndarray:
    """A numeric column as float32 [rows]; a null becomes NaN.

    Raises:
      UserError: the column is not numeric.
    """
    out: np.ndarray = np.empty(sum(map(tables.num_rows, parts)), np.float32)
    begin = 0
    for part in parts:
        for chunk in _number_column(part, name).chunks:
            out[begin : begin + len(chunk)] = chunk.to_numpy(zero_copy_only=False)
            begin += len(chunk)
    return out


def token_counts(parts: Sequence[Path]) -> np.ndarray:
    """The column `n_tokens` as int32 [rows].

    Raises:
      UserError: the column is not numeric, has nulls, or a value that is no number of tokens.
    """
    out: np.ndarray = np.empty(sum(map(tables.num_rows, parts)), np.int32)
    begin = 0
    for part in parts:
        values = _number_column(part, "n_tokens")
        if values.null_count:
            missing = f"{values.null_count} rows have no n_tokens"
            raise UserError(f"{part}: {missing}; give every row one, or drop the column")
        ids = functools.partial(strings, [part], "id")
        out[begin : begin + len(values)] = checked_token_counts(values.to_numpy(), ids)
        begin += len(values)
    return out


def _number_column(part: Path, name: str) -> pa.ChunkedArray:
    values = column([part], name)
    if not is_number(values.type):
        raise UserError(f"{part}: the column {name} holds {values.type}, not numbers")
    return values


def matrix(parts: Sequence[Path], name: str) -> np.ndarray:
    """A column of lists as float32 [rows, longest], padded with NaN."""
    values = column(parts, name)
    lengths = pc.fill_null(pc.list_value_length(values), 0).to_numpy().astype(np.int64)
    out: np.ndarray = np.full((len(lengths), int(lengths.max(initial=0))), np.nan, np.float32)
    out[np.arange(out.shape[1]) < lengths[:, None]] = pc.list_flatten(values).to_numpy()
    return out
