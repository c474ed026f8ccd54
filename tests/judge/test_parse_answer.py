import json

import pytest

from mmssr_jax.core import files
from mmssr_jax.core.tables import judgment_schema
from mmssr_jax.judge.ledger import Ledger, LedgerEntry
from mmssr_jax.judge.parse_answer import JudgedSample, combined, judgment_table, parse_answer, read_ratings
from mmssr_jax.judge.rubric import Judgment, rubric_of

RUBRIC = rubric_of({"counting": "", "ocr": ""}, ("yes/no", "list", "essay"))
ANSWER = {"counting": 1, "ocr": 4, "styles": ["list"]}
RAW = json.dumps(ANSWER)


@pytest.mark.parametrize(
    "raw",
    [RAW, f"\n {RAW} ", f"```json\n{RAW}\n```", f"Here it is:\n```\n{RAW}\n```\nDone.", f"Sure! {RAW} Anything else?"],
)
def test_finds_the_object(raw):
    assert parse_answer(raw, RUBRIC) == Judgment((1, 4), ("list",))


DRAFT = json.dumps({**ANSWER, "ocr": 0})
WRONG = json.dumps({**ANSWER, "ocr": 9})


@pytest.mark.parametrize(
    "raw",
    [
        f"<think>Maybe {DRAFT}? {{no}}</think>\n{RAW}",
        f"\n<think>{{</think>```json\n{RAW}\n```",
        f"thoughts {DRAFT} </think> {RAW}",
        f"The set {{a, b}} has two elements. {RAW}",
        f'A draft: {DRAFT}. The fields: {{"ocr": 0-5}}. Final: {RAW} I hope {{this}} helps.',
        f"{RAW} (an invalid one would be {WRONG})",
    ],
)
def test_the_last_valid_object_counts(raw):
    assert parse_answer(raw, RUBRIC) == Judgment((1, 4), ("list",))


@pytest.mark.parametrize(
    ("raw", "says"),
    [
        (f"<think>Maybe {DRAFT}", "not JSON"),  # cut off before the answer
        (f"<think>Maybe {DRAFT}</think> I cannot rate this.", "not JSON"),
        (f"{WRONG} {json.dumps({'ocr': 1})}", "lacks counting"),
    ],
)
def test_a_draft_is_no_answer(raw, says):
    with pytest.raises(ValueError, match=says):
        parse_answer(raw, RUBRIC)


def test_an_object_inside_the_answer_is_not_the_answer():
    nested = json.dumps({**ANSWER, "note": {**ANSWER, "ocr": 0}})
    assert parse_answer(nested, RUBRIC).scores == (1, 4)


def test_rationale_and_further_fields():
    assert parse_answer(json.dumps({"rationale": "so", "note": 1, **ANSWER}), RUBRIC).rationale == "so"


def test_half_an_emoji_in_a_rationale_is_no_text(tmp_path):
    """Results with it could not be written."""
    raw = json.dumps({"rationale": "fine", **ANSWER}).replace("fine", "fine \\ud83d")
    rationale = parse_answer(raw, RUBRIC).rationale
    assert rationale == "fine ?"
    files.write_json(tmp_path / "judge.json", {"rationale": rationale})


@pytest.mark.parametrize(
    ("raw", "says"),
    [
        ("", "not JSON"),
        ("I cannot", "not JSON"),
        (RAW[:-3], "not JSON"),
        ("[" * 100_000, "not JSON"),
        ("{" * 5000 + "}" * 5000, "not JSON"),
        ("[1]", "not JSON"),
        (json.dumps({"ocr": 1}), "lacks counting, styles"),
        (json.dumps({**ANSWER, "styles": "list"}), "styles is not a list"),
        (json.dumps({**ANSWER, "ocr": 6}), "ocr is 6"),
        (json.dumps({**ANSWER, "ocr": "4"}), "ocr is '4'"),
        (json.dumps({**ANSWER, "styles": ["poem"]}), "style 'poem'"),
    ],
)
def test_refuses(raw, says):
    with pytest.raises(ValueError, match=says):
        parse_answer(raw, RUBRIC)


def test_the_ledger_can_be_parsed_again(tmp_path):
    path = tmp_path / "l.jsonl"
    with Ledger(path) as ledger:
        for fields in (
            {"id": "a", "outcome": "retry", "reason": "invalid", "raw": "{}", "cost": 0.5, "usage": {"x": 2}},
            {"id": "a", "raw": RAW, "cost": 0.25, "usage": {"x": 3}},
            {"id": "a", "raw": json.dumps({**ANSWER, "ocr": 5})},  # a second answer does not count
            {"id": "b", "outcome": "skip", "reason": "refusal", "raw": None},
            {"id": "c", "outcome": "skip", "reason": "invalid", "raw": RAW},  # a better parser finds it
            {"id": "d", "raw": RAW},  # not asked about
        ):
            ledger.append(LedgerEntry(judge="j", prompt_hash="p", **fields))
    ratings = read_ratings(path, {("j", "p", i, 0) for i in "abce"}, RUBRIC)
    assert {k[2]: v.scores for k, v in ratings.judgments.items()} == {"a": (1, 4), "c": (1, 4)}
    assert {k[2]: v for k, v in ratings.skipped.items()} == {"b": "refusal"}
    assert ratings.lines == {"ok": 2, "retry: invalid": 1, "skip: invalid": 1, "skip: refusal": 1}
    assert (ratings.usage, ratings.cost) == ({"x": 5}, 0.75)


@pytest.mark.parametrize(
    ("votes", "expected"),
    [
        ([((1, 4), ("list",))], ((1, 4), ("list",))),
        ([((1, 4), ("list",)), ((2, 4), ("list", "essay"))], ((2, 4), ("list",))),
        ([((0, 5), ("essay", "list")), ((0, 4), ("list",)), ((1, 4), ("essay", "list"))], ((0, 4), ("list", "essay"))),
        ([((0, 0), ("essay",)), ((0, 0), ("list",))], ((0, 0), ("list",))),
    ],
)
def test_votes_are_combined(votes, expected):
    assert combined([Judgment(*v) for v in votes], RUBRIC) == Judgment(*expected)


def test_table_has_the_contracts_columns():
    rows = [JudgedSample("a", "s", Judgment((1, 4), ("list",)), "j", "p")]
    table = judgment_table(rows, RUBRIC)
    assert table.schema == judgment_schema(RUBRIC.slugs)
    assert table.to_pylist() == [
        {"id": "a", "source": "s", "counting": 1, "ocr": 4, "styles": ["list"], "judge": "j", "prompt_hash": "p"}
    ]
    assert judgment_table([], RUBRIC).num_rows == 0
