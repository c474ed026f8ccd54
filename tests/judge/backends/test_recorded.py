import json

import pytest

from mmssr_jax.core import files
from mmssr_jax.core.config import fingerprint
from mmssr_jax.core.errors import UserError
from mmssr_jax.core.progress import Progress
from mmssr_jax.judge.backends.recorded import RecordedJudge, matched, read_recorded
from mmssr_jax.judge.base import Request
from mmssr_jax.judge.ledger import Ledger, read_ledger
from mmssr_jax.judge.parse_answer import parse_answer
from mmssr_jax.judge.rubric import rubric_of

RUBRIC = rubric_of({"counting": "", "ocr": ""}, ("yes/no", "list"))
GOOD = {"id": "a", "scores": [1, 2], "styles": ["list"]}


def write(path, *rows):
    path.write_text("".join(json.dumps(r) + "\n" for r in rows))
    return path


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        ([], "holds no ratings"),
        ([{"scores": [1, 2], "styles": ["list"]}], "rating 1 has no 'id'"),
        ([GOOD, {**GOOD, "id": 7}], "rating 2 has no 'id'"),
        ([{"id": "a", "scores": {"ocr": 1}, "styles": ["list"]}], r"rating 1 \(a\) has no list 'scores'"),
        ([{"id": "a", "scores": [1, 2]}], r"rating 1 \(a\) has no list 'styles'"),
        ([GOOD, GOOD], r"rating 2 \(a\): this id was rated before"),
        ([{**GOOD, "scores": [1, 9]}], r"rating 1 \(a\): ocr is 9"),
        ([{**GOOD, "scores": [1]}], "1 scores, expected 2"),
        ([{**GOOD, "styles": ["lists"]}], "style 'lists'"),
        ([{**GOOD, "score": 3}], "unknown field 'score'"),
    ],
)
def test_a_broken_file_is_one_clear_line(tmp_path, rows, says):
    with pytest.raises(UserError, match=says) as e:
        read_recorded(write(tmp_path / "r.jsonl", *rows), RUBRIC)
    assert "\n" not in str(e.value)


def test_missing_file(tmp_path):
    with pytest.raises(UserError, match="no such file"):
        read_recorded(tmp_path / "none.jsonl", RUBRIC)


def test_replays_into_the_ledger(tmp_path):
    judge = RecordedJudge(
        write(tmp_path / "r.jsonl", GOOD, {**GOOD, "id": "b", "scores": [0, 5]}), RUBRIC, ["a", "b"], [None, None]
    )
    with Ledger(tmp_path / "ledger.jsonl") as ledger:
        judge.judge([Request("b"), Request("a")], ledger, Progress("", 2))
    entries = list(read_ledger(tmp_path / "ledger.jsonl"))
    assert [(e.id, e.judge, e.outcome) for e in entries] == [
        ("b", "recorded:r.jsonl", "ok"),
        ("a", "recorded:r.jsonl", "ok"),
    ]
    assert parse_answer(entries[0].raw, RUBRIC).scores == (0, 5)


def test_another_content_is_another_judge(tmp_path):
    first = RecordedJudge(write(tmp_path / "r.jsonl", GOOD), RUBRIC, ["a", "b"], [None, None])
    second = RecordedJudge(write(tmp_path / "r.jsonl", {**GOOD, "scores": [2, 2]}), RUBRIC, ["a", "b"], [None, None])
    assert first.prompt_hash != second.prompt_hash


def test_ratings_find_their_samples():
    ratings = {"a": 1, "own": 2, "twice": 3, "gone": 4}
    assert matched(ratings, ["a", "h1", "h2", "h3"], ["x", "own", "twice", "twice"]) == {"a": 1, "h1": 2}
    assert matched(ratings, ["a", "h1"], [None, "a"]) == {"a": 1}


def test_none_of_this_pool(tmp_path):
    with pytest.raises(UserError, match="none of its 1 ids is in the pool"):
        RecordedJudge(write(tmp_path / "r.jsonl", GOOD), RUBRIC, ["z"], [None])


def test_another_order_of_the_capabilities_is_another_judge(tmp_path):
    """The numbers of the file then mean something else, so what the ledger holds does not count."""
    path = write(tmp_path / "r.jsonl", GOOD)
    prompts = {}
    for order in (("counting", "ocr"), ("ocr", "counting"), ("counting", "text reading")):
        rubric = rubric_of(dict.fromkeys(order, ""), ("yes/no", "list"))
        judge = RecordedJudge(path, rubric, ["a"], [None])
        prompts[order] = judge.prompt_hash
        with Ledger(tmp_path / "l.jsonl") as ledger:
            assert (judge.name, judge.prompt_hash, "a", 0) not in ledger.settled
            judge.judge([Request("a")], ledger, Progress("judge", 1))
    assert len(set(prompts.values())) == 3


def test_mmssrs_rubric_has_the_fingerprint_of_earlier_ledgers(tmp_path):
    path = write(tmp_path / "r.jsonl", {"id": "a", "scores": [1] * 14, "styles": ["yes/no"]})
    earlier = fingerprint({"recorded": files.file_digest(path)})
    assert RecordedJudge(path, rubric_of(None, None), ["a"], [None]).prompt_hash == earlier
