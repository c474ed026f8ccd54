"""Predictions on disk, cut off and resumed, and the numbers made of them."""

from __future__ import annotations

import io

import pyarrow.parquet as pq
import pytest
from PIL import Image

from mmssr_jax.core import files
from mmssr_jax.core.errors import UserError
from mmssr_jax.core.sample import ImageRef
from mmssr_jax.evaluation import runner
from mmssr_jax.evaluation.benchmark import Row
from mmssr_jax.evaluation.benchmark_registry import get_benchmark

from .tsv import FakePredictor, png

CHOICE = get_benchmark("multiple_choice")
RIGHT = "ABABA"
ROWS = [
    Row(
        {"index": str(i), "question": f"Which {i}?", "A": "cat", "B": "dog", "answer": a, "category": "xy"[i % 2]},
        (ImageRef(data=png()),),
    )
    for i, a in enumerate(RIGHT)
]
REPLIES = {"0": "A", "1": "It is a dog", "2": "B", "3": "B.", "4": "no idea"}


def predict(path, predictor):
    questions, parts = runner.make_questions(CHOICE, ROWS), path.parent / "parts"
    lock = path.parent.with_name(f"{path.parent.name}.lock")
    runner.predict_parts(questions, predictor, parts, label="test", max_new_tokens=8, save_every=2, lock=lock)
    runner.merge_parts(questions, path, parts, save_every=2)


def test_prediction_table(tmp_path):
    predictor = FakePredictor(REPLIES)
    predict(tmp_path / "b.parquet", predictor)
    table = pq.read_table(tmp_path / "b.parquet")
    assert table.column_names == ["index", "question", "answer", "prediction", "A", "B", "category"]
    assert table["prediction"].to_pylist() == list(REPLIES.values())
    assert predictor.max_new_tokens == [8, 8, 8]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["b.parquet"]


def test_numbers_from_disk(tmp_path):
    predict(tmp_path / "b.parquet", FakePredictor(REPLIES))
    answered = runner.read_predictions(tmp_path / "b.parquet")
    entry = runner.result_entry(CHOICE.score(answered), tmp_path / "b.parquet", questions=len(answered), seed=0)
    assert entry["metric"] == "accuracy"
    assert entry["value"] == 60
    assert entry["questions"] == entry["n"] == 5
    assert entry["more"] == {"chance": 50}
    assert entry["categories"] == {"x": {"value": 33.333333, "n": 3}, "y": {"value": 100, "n": 2}}
    assert entry["interval"][0] <= 60 <= entry["interval"][1]


@pytest.mark.parametrize("limit", [0, 1, 2, 3, 4])
def test_cut_off_and_resumed_equals_uninterrupted(tmp_path, limit):
    predict(tmp_path / "whole.parquet", FakePredictor(REPLIES))
    path = tmp_path / "cut.parquet"
    with pytest.raises(KeyboardInterrupt):
        predict(path, FakePredictor(REPLIES, limit))
    assert not path.exists()
    rest = FakePredictor(REPLIES)
    predict(path, rest)
    assert path.read_bytes() == (tmp_path / "whole.parquet").read_bytes()
    assert [q.index for q in rest.asked] == list("01234")[limit // 2 * 2 :]


@pytest.mark.parametrize("machine", [None, "another-host"])
def test_what_killed_processes_left_half_written_is_removed_with_the_parts(tmp_path, machine):
    path, parts = tmp_path / "b.parquet", tmp_path / "parts"
    left = files.temporary_path(parts / "00000000.json", process=9_999_999)
    parts.mkdir()
    (left if machine is None else parts / f".00000000.json.{machine}.7.mmssr-tmp").write_text("[")
    predict(path, FakePredictor(REPLIES))
    assert [p.name for p in tmp_path.iterdir()] == ["b.parquet"]


def test_a_model_that_answers_too_little_is_an_error(tmp_path):
    class Silent:
        def predict(self, questions, *, max_new_tokens):
            yield from ()

    with pytest.raises(ValueError, match=r"0 answers to 2 questions"):
        predict(tmp_path / "b.parquet", Silent())


def test_gray_images_keep_their_sizes():
    (question, *_) = runner.make_questions(CHOICE, ROWS)
    (baseline,) = runner.without_images([question])
    with Image.open(io.BytesIO(baseline.images[0].read())) as image:
        assert image.size == (40, 30)
        assert image.getcolors() == [(1200, (127, 127, 127))]
    assert (baseline.prompt, baseline.fields) == (question.prompt, question.fields)


def test_no_question_and_a_foreign_prediction_are_refused():
    with pytest.raises(UserError, match=r"no question"):
        runner.make_questions(CHOICE, [])
    row = Row({**ROWS[0].fields, "prediction": "A"}, ROWS[0].images)
    with pytest.raises(UserError, match=r"column 'prediction'"):
        runner.make_questions(CHOICE, [row])


def test_an_unknown_kind_names_the_known():
    with pytest.raises(UserError, match=r"no kind of benchmark 'mcq'; known are .*multiple_choice"):
        get_benchmark("mcq")


@pytest.mark.parametrize("content", ["null", "[]", '["A", "B", "C"]', '{"a": 1, "b": 2}'])
def test_a_damaged_part_is_named_and_can_be_deleted(tmp_path, content):
    """A shorter part would move every later answer to another question."""
    (tmp_path / "parts").mkdir()
    part = tmp_path / "parts" / "00000002.json"
    part.write_text(content)
    with pytest.raises(UserError, match=r"00000002\.json: damaged; delete the file"):
        predict(tmp_path / "b.parquet", FakePredictor(REPLIES))
    part.unlink()
    predict(tmp_path / "b.parquet", FakePredictor(REPLIES))
    assert runner.read_predictions(tmp_path / "b.parquet")[2]["prediction"] == "B"


def test_a_value_that_is_no_number_is_a_dash():
    entry = {"metric": "relative score", "value": None, "interval": [None, 2.0], "n": 3, "more": {}, "note": "why"}
    assert runner.format_entry(entry) == "relative score – (– to 2.00, n 3); why"
