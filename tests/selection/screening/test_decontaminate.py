"""Matches with planted questions."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from mmssr_jax.core.sample import ImageRef, Sample, Turn
from mmssr_jax.selection.config import SelectionConfig
from mmssr_jax.selection.screening import decontaminate
from mmssr_jax.selection.screening.decontaminate import Decontaminate
from mmssr_jax.selection.screening.exclusions import by_contamination
from mmssr_jax.selection.screening.fingerprints import Fingerprints, fingerprint
from mmssr_jax.selection.screening.image_hash import image_hash
from tests.selection.tables_for_tests import make_table

from .test_image_hash import scene

QUESTION = "Which of the two lines in the left panel crosses the other one first after noon?"


def known(ngram: int = 6) -> decontaminate.Questions:
    names = [("a.tsv", "0"), ("a.tsv", "1"), ("b.tsv", "0")]
    texts = [QUESTION, "Is it red?", f"{QUESTION} red blue"]
    seeds = ((1,), (), (2, 3))
    hashes = [np.array([image_hash(scene(s)) for s in own], np.uint64).reshape(-1, 2) for own in seeds]
    return decontaminate.questions(names, texts, hashes, ngram=ngram)


def decode(image: ImageRef) -> Image.Image:
    assert image.data is not None
    return scene(int(image.data)).resize((150, 150))


def test_pictures() -> None:
    shown = [(), ("1",), ("9", "3"), ("8",)]
    samples = [Sample(f"r{i}", "s", (), tuple(ImageRef(data=p.encode()) for p in s)) for i, s in enumerate(shown)]
    prints = Fingerprints.from_arrow(fingerprint(samples, decode))
    found = decontaminate.match_images(prints, known(), distance=4).to_pylist()
    assert [(r["id"], r["benchmark"], r["index"], r["by"], r["ngrams"]) for r in found] == [
        ("r1", "a.tsv", "0", "image", None),
        ("r2", "b.tsv", "0", "image", None),
    ]
    assert all(r["distance"] <= 4 for r in found)


def test_texts() -> None:
    texts = [
        "nothing of it",
        f"Look. {QUESTION.upper()} Answer shortly.",
        "the two lines in the left panel",  # a run of 7
        "Is it red?",  # too short to tell
        "two lines in the left",  # a run of 5
    ]
    ids = [f"r{i}" for i in range(5)]
    found = decontaminate.match_texts(ids, texts, known(6), ngram=6).to_pylist()
    assert [(r["id"], r["benchmark"], r["index"], r["ngrams"]) for r in found] == [
        ("r1", "a.tsv", "0", 11),
        ("r2", "a.tsv", "0", 2),
    ]
    assert decontaminate.match_texts(ids, texts, known(20), ngram=20).num_rows == 0


def test_no_questions_match_nothing() -> None:
    none = decontaminate.questions([], [], [], ngram=3)
    prints = Fingerprints.from_arrow(fingerprint([Sample("r0", "s", (Turn("user", QUESTION),))], decode))
    assert decontaminate.match_texts(["r0"], [QUESTION], none, ngram=3).num_rows == 0
    assert decontaminate.match_images(prints, none, distance=4).num_rows == 0


def test_remove_and_report() -> None:
    table = make_table([(0, [0], [1.0])] * 3)
    rows = [
        ("r2", "b.tsv", "0", "text", None, 1),
        ("r0", "a.tsv", "0", "image", 0, None),
        ("gone", "a.tsv", "1", "text", None, 2),
    ]
    matches = pa.table([list(c) for c in zip(*rows, strict=True)], schema=decontaminate.SCHEMA)
    remove = SelectionConfig(decontaminate=Decontaminate(("a.tsv", "b.tsv")))
    found = by_contamination(table, remove, matches)
    assert {k: v.tolist() for k, v in found.excluded.reasons.items()} == {
        "matches a.tsv (contamination.parquet)": [True, False, False],
        "matches b.tsv (contamination.parquet)": [False, False, True],
    }
    report = SelectionConfig(decontaminate=Decontaminate(("a.tsv", "b.tsv"), action="report"))
    found = by_contamination(table, report, matches)
    assert not found.excluded.reasons
    assert found.reports["contamination.parquet"].equals(matches)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [({"benchmarks": ()}, "benchmarks is empty"), ({"distance": 16}, "distance is 16"), ({"ngram": 0}, "ngram is 0")],
)
def test_wrong_settings(wrong: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Decontaminate(**{"benchmarks": ("a.tsv",), **wrong})  # type: ignore[arg-type]


def test_a_picture_that_many_share_matches_each_once_the_first_of_equally_near() -> None:
    same = np.array([image_hash(scene(1))] * 300, np.uint64)
    names = [("a.tsv", str(n)) for n in range(200)]
    asked = decontaminate.questions(names, ["?"] * 200, list(same[:200, None]), ngram=6)
    prints = Fingerprints.from_arrow(
        fingerprint([Sample(f"r{i}", "s", (), (ImageRef(data=b"1"),)) for i in range(300)], decode)
    )
    found = decontaminate.match_images(prints, asked, distance=4).to_pylist()
    assert [r["id"] for r in found] == [f"r{i}" for i in range(300)]
    assert {(r["benchmark"], r["index"]) for r in found} == {("a.tsv", "0")}
