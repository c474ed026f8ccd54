"""The benchmark table."""

from __future__ import annotations

import base64
import collections
import csv
import io
import sys
from pathlib import Path

from PIL import Image

from mmssr_jax.core.vocabulary import SLUGS
from mmssr_jax.synthetic.questions import COLUMNS, TYPES, write_benchmark


def _rows(path: Path) -> list[dict[str, str]]:
    csv.field_size_limit(sys.maxsize)
    with open(path, encoding="utf-8", newline="") as f:
        return list(csv.DictReader(f, delimiter="\t"))


def test_rows_are_balanced_and_answerable(tmp_path: Path) -> None:
    write_benchmark(tmp_path / "p.tsv", questions=84, seed=3)
    rows = _rows(tmp_path / "p.tsv")
    assert tuple(rows[0]) == COLUMNS
    assert [r["index"] for r in rows] == [str(i) for i in range(84)]
    assert collections.Counter(r["category"] for r in rows) == dict.fromkeys(SLUGS, 6)
    assert {r["type"] for r in rows} == set(TYPES)
    letters = collections.Counter(r["answer"] for r in rows if r["type"] == "multi-choice")
    assert max(letters.values()) - min(letters.values()) <= 0.25 * sum(letters.values())
    for row in rows:
        assert row["question"]
        options = [row[c] for c in "ABCD"]
        if row["type"] == "multi-choice":
            assert len(set(options)) == 4
            assert row[row["answer"]]
        else:
            assert not any(options)
        if row["type"] == "yes/no":
            assert row["answer"] in ("yes", "no")
        image = Image.open(io.BytesIO(base64.b64decode(row["image"])))
        assert image.size == (256, 256)
    sides = collections.Counter(r["answer"] for r in rows if r["type"] == "yes/no")
    assert abs(sides["yes"] - sides["no"]) <= 10


def test_questions_are_repeatable_and_seeded(tmp_path: Path) -> None:
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        write_benchmark(tmp_path / name, questions=14, seed=seed)
    a, b, c = ((tmp_path / n).read_bytes() for n in "abc")
    assert a == b
    assert a != c
