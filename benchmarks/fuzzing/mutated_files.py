"""JSON, Parquet and whole folders, mutated in their structure or in their bytes."""

from __future__ import annotations

import io
import json
import random
from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from . import mutations
from .target import Files


def either(rng: random.Random, first: Callable[[], bytes], second: Callable[[], bytes], share: float = 0.7) -> bytes:
    """`first` in `share` of the inputs, `second` in the others."""
    return first() if rng.random() < share else second()


def json_file(rng: random.Random, value: Any) -> bytes:
    """A JSON text, mutated in its structure or in its bytes."""
    return either(
        rng, lambda: mutations.mutate_json(rng, value), lambda: mutations.mutate_bytes(rng, json.dumps(value).encode())
    )


def json_lines(rng: random.Random, rows: list[Any]) -> bytes:
    """JSON lines, mutated in their structure or in their bytes."""
    return either(
        rng, lambda: mutations.mutate_lines(rng, rows), lambda: mutations.mutate_bytes(rng, encode_lines(rows))
    )


def parquet_file(rng: random.Random, table: pa.Table) -> bytes:
    """A Parquet file, mutated in its columns or in its bytes."""
    return either(
        rng,
        lambda: mutations.mutate_table(rng, table),
        lambda: mutations.mutate_bytes(rng, encode_parquet(table)),
    )


def encode_parquet(table: pa.Table) -> bytes:
    """A valid Parquet file."""
    buffer = io.BytesIO()
    pq.write_table(table, buffer)
    return buffer.getvalue()


def encode_lines(rows: list[Any]) -> bytes:
    """Valid JSON lines."""
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def mutated_folder(rng: random.Random, files: Files) -> Files:
    """Folder `files`, in which one file is mutated, by its kind, or is missing."""
    found = dict(files)
    name = rng.choice(sorted(found))
    kind = name.rpartition(".")[2]
    if rng.random() < 0.05:
        del found[name]
    elif kind == "json":
        found[name] = json_file(rng, json.loads(found[name]))
    elif kind == "parquet":
        found[name] = parquet_file(rng, pq.read_table(io.BytesIO(found[name])))
    elif kind in ("jsonl", "txt"):
        found[name] = mutations.mutate_text(rng, found[name].decode())
    else:
        found[name] = mutations.mutate_bytes(rng, found[name])
    return found
