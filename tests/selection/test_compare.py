"""The difference of two selections."""

from __future__ import annotations

import pyarrow as pa

from mmssr_jax.selection.base import SCHEMA
from mmssr_jax.selection.compare import difference


def picks(*rows: tuple[str, str, str | None, float | None]) -> pa.Table:
    columns = [[id, source, capability, "g", score, 1] for id, source, capability, score in rows]
    return pa.Table.from_pylist([dict(zip(SCHEMA.names, c, strict=True)) for c in columns], SCHEMA)


def test_difference() -> None:
    first = picks(("a", "x", "ocr", 1.0), ("b", "x", "ocr", 2.0), ("c", "y", None, None))
    second = picks(("c", "y", None, None), ("d", "z", "ocr", 1.0), ("b", "x", "logic", 2.0))
    found = difference(first, second)
    assert found.both == 2
    assert found.first_only["id"].to_pylist() == ["a"]
    assert found.second_only["id"].to_pylist() == ["d"]
    assert found.other_reason == 1
    assert found.per_source == {"x": (2, 1), "z": (0, 1)}
    assert found.jaccard == 0.5
    assert found.lines("one", "two")[0].startswith("2 samples are in both one and two (Jaccard 0.500), 1 of them")


def test_equal_and_empty_selections() -> None:
    same = difference(picks(("a", "x", None, None)), picks(("a", "x", None, None)))
    assert (same.both, same.other_reason, same.jaccard) == (1, 0, 1.0)
    none = difference(picks(), picks())
    assert (none.both, none.jaccard) == (0, 1.0)
