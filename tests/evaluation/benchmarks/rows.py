"""Rows of the tests of benchmarks, as they are written and as a model is asked."""

from __future__ import annotations

from mmssr_jax.core.sample import ImageRef
from mmssr_jax.evaluation.benchmark import Row
from mmssr_jax.evaluation.benchmark_registry import get_benchmark

IMAGE = ImageRef(data=b"never decoded here")
OTHER = ImageRef(data=b"nor this")
PETS = {"question": "Which?", "A": "cat", "B": "dog", "answer": "A"}


def table(columns: str, *lines: str) -> list[dict[str, str]]:
    """Rows from words; `_` is an empty cell."""
    rows = [dict(zip(columns.split(), line.split(), strict=True)) for line in lines]
    return [{"index": str(i), **{k: v for k, v in row.items() if v != "_"}} for i, row in enumerate(rows)]


def asked(kind, fields, images=(IMAGE,)):
    return get_benchmark(kind).ask(Row({"index": "0", **fields}, tuple(images)), None)
