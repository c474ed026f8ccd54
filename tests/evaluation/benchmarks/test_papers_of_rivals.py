"""VQAv2, VizWiz, GQA, MMBench-CN and LLaVA-Bench in the Wild against small tables computed by hand, traps first."""

from __future__ import annotations

import numpy as np
import pytest

from mmssr_jax.core.errors import UserError
from mmssr_jax.core.sample import ImageRef
from mmssr_jax.evaluation.benchmark import Row
from mmssr_jax.evaluation.benchmark_registry import get_benchmark
from mmssr_jax.evaluation.benchmarks import llava_w, vizwiz, vqav2
from mmssr_jax.evaluation.score import GRADE, NO_JUDGE, bootstrap, by_group

IMAGE = ImageRef(data=b"never decoded here")


def row(index=0, **fields) -> Row:
    return Row({"index": str(index), "question": "Which?", **fields}, (IMAGE,))


def scored(kind, *rows):
    """The score of rows that are loaded from a file, and then answered."""
    cells = [{k: v for k, v in r.items() if k != "prediction"} for r in rows]
    loaded = get_benchmark(kind).load([row(n, **fields) for n, fields in enumerate(cells)])
    answered = [{**x.fields, "prediction": r["prediction"]} for x, r in zip(loaded, rows, strict=True)]
    return get_benchmark(kind).score(answered)


def ten(**counts: int) -> list[str]:
    """Ten annotators' answers."""
    answers = [text.replace("_", " ") for text, count in counts.items() for _ in range(count)]
    assert len(answers) == 10
    return answers


# VQAv2


@pytest.mark.parametrize(
    ("prediction", "answers", "expected"),
    [
        ("net", ten(net=10), 1.0),
        ("net", ten(net=4, nets=6), 1.0),
        ("net", ten(net=3, nets=7), 0.9),  # the three that gave it see two others: (7 x 1 + 3 x 2/3) / 10
        ("net", ten(net=2, nets=8), 0.6),
        ("net", ten(net=1, nets=9), 0.3),
        ("net", ten(nets=10), 0.0),
        ("The net.", ten(net=4, nets=6), 1.0),  # article and period
        ("Two", ["2"] * 3 + ["two"] * 3 + ["3"] * 4, 1.0),  # annotators' number words are digits too
        ("yes", ["Yes"] * 10, 1.0),  # also where all ten agree
        ("t shirt", ["t-shirt"] * 10, 1.0),
        ("tshirt", ["t-shirt"] * 10, 0.0),
        ("3.", ["3"] * 10, 1.0),
        ("yes it is", ["yes"] * 10, 0.0),  # no containment
        ("", ten(net=10), 0.0),
    ],
)
def test_vqa_accuracy(prediction, answers, expected):
    assert vqav2.hit(prediction, answers) == pytest.approx(expected)


def test_vqav2_table():
    score = scored(
        "vqav2",
        {"answer": str(ten(yes=9, no=1)), "prediction": "Yes.", "answer_type": "yes/no", "question_type": "is the"},
        {"answer": str(ten(yes=2, no=8)), "prediction": "yes", "answer_type": "yes/no", "question_type": "is the"},
        {"answer": str([{"answer": "2", "answer_id": k} for k in range(10)]), "prediction": "two",
         "answer_type": "number", "question_type": "how many"},
        {"answers": str(ten(net=3, nets=7)), "prediction": "net", "answer_type": "other", "question_type": "what"},
    )  # fmt: skip
    assert score.metric == "VQA accuracy"
    assert score.value() == pytest.approx(100 * (1 + 0.6 + 1 + 0.9) / 4)
    assert score.groups["answer_type"] == {
        "number": {"value": 100.0, "n": 1}, "other": {"value": pytest.approx(90.0), "n": 1},
        "yes/no": {"value": pytest.approx(80.0), "n": 2},
    }  # fmt: skip
    assert score.groups["question_type"]["is the"] == {"value": pytest.approx(80.0), "n": 2}


def test_a_question_without_answers_is_named():
    with pytest.raises(UserError, match="index 3: has no answer"):
        get_benchmark("vqav2").load([row(3)])


# VizWiz


def test_vizwiz_table():
    nobody = ten(unanswerable=6, unsuitable_image=1, blue=3)
    score = scored(
        "vizwiz",
        {"answers": str(nobody), "prediction": "Unanswerable.", "answer_type": "unanswerable"},
        {"answers": str(nobody), "prediction": "unsuitable image", "answer_type": "unanswerable"},  # not the same
        {"answers": str(ten(coke=4, coca_cola=6)), "prediction": "unanswerable", "answer_type": "other"},
        {"answers": str(ten(coke=4, coca_cola=6)), "prediction": "It's coke", "answer_type": "other"},
        {"answers": str(["don't know"] * 10), "prediction": "dont know", "answer_type": "other"},
    )
    assert score.value() == pytest.approx(100 * (1 + 0.3 + 0 + 0 + 1) / 5)
    assert score.groups["answer_type"]["unanswerable"] == {"value": pytest.approx(65.0), "n": 2}
    assert score.more == {'answers "unanswerable"': pytest.approx(40.0), 'always "unanswerable"': pytest.approx(40.0)}


def test_vizwiz_reads_possessives_as_eval_ai_does():
    """EvalAI's processor writes "'s" as a word of its own, in answers and references alike."""
    assert vizwiz.hit("campbell's soup", ["Campbell's soup"] * 10) == 1.0
    assert vizwiz.hit("campbell soup", ["Campbell's soup"] * 10) == 0.0
    assert vizwiz.hit("yes,no", ["yesno"] * 10) == 1.0  # commas go without a space


# GQA


def test_gqa_table():
    score = scored(
        "gqa",
        {"answer": "dog", "prediction": "Dog.", "structural": "query", "semantic": "cat"},
        {"answer": "dog", "prediction": "a dog", "structural": "query", "semantic": "cat"},  # articles count
        {"answer": "two", "prediction": "2", "structural": "query", "semantic": "attr"},  # and so do number words
        {"answer": "t-shirt", "prediction": "tshirt", "structural": "choose", "semantic": "obj"},
        {"answer": "yes", "prediction": "yes", "structural": "verify", "semantic": "attr"},
        {"answer": "yes", "prediction": "Yes, it is", "structural": "verify", "semantic": "attr"},
    )
    assert score.value() == pytest.approx(100 * 2 / 6)
    assert score.more == {"accuracy of texts as written": pytest.approx(100 / 6)}
    assert score.groups["structural"]["query"] == {"value": pytest.approx(100 / 3), "n": 3}
    assert score.groups["semantic"]["attr"] == {"value": pytest.approx(100 / 3), "n": 3}


# MMBench-CN


def test_mmbench_cn_is_circular():
    cat_first = {"A": "猫", "B": "狗"}
    dog_first = {"A": "狗", "B": "猫"}
    rows = [
        row(1, **cat_first, answer="A"),
        row(1000001, **dog_first, answer="B"),
        row(2, **cat_first, answer="B"),
        row(1000002, **dog_first, answer="A"),
        row(3, **cat_first, answer="A"),
        row(1000003, **dog_first, answer="B"),
    ]
    predictions = [
        "A", "答案是 B",  # both right
        "B", "B",  # the rotation is wrong: nothing for the group
        "猫", "B。",  # by the text; a Chinese period hides the letter from VLMEvalKit's rule
    ]  # fmt: skip
    loaded = get_benchmark("mmbench_cn").load(rows)
    score = get_benchmark("mmbench_cn").score(
        [{**x.fields, "prediction": p} for x, p in zip(loaded, predictions, strict=True)]
    )
    assert (score.metric, score.value()) == ("circular accuracy", pytest.approx(100 / 3))
    assert score.more["accuracy of single rows"] == pytest.approx(100 * 4 / 6)
    assert score.more["chance"] == pytest.approx(25.0)


# LLaVA-Bench in the Wild


def rated(*replies: str, category="conv"):
    rows = [
        {"index": str(n), "question": "Why?", "caption": "A dog.", "category": category, "answer": "Because.",
         "prediction": "So.", GRADE: reply}
        for n, reply in enumerate(replies)
    ]  # fmt: skip
    return get_benchmark("llava_w").score(rows)


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        ("8 6\nAssistant 1 is better.", (8, 6)),
        ("8,6", (8, 6)),
        ("7.5 6", (7.5, 6)),
        ("8, 6", (-1, -1)),  # a comma and a space are two separators, as in the authors' code
        ("8  6", (-1, -1)),
        ("Assistant 1: 8", (-1, -1)),
        ("8 6 ", (-1, -1)),
        ("eight six", (-1, -1)),
        ("\n8 6", (-1, -1)),  # only the first line counts
        ("", (-1, -1)),
    ],
)
def test_ratings(reply, expected):
    assert llava_w.read_ratings(reply) == expected


def test_llava_w_is_a_ratio_of_sums():
    score = rated("10 5", "5 5")
    assert score.value() == pytest.approx(100 * 10 / 15)  # the mean of the ratios would be 75
    assert score.more["model's mean rating x 10"] == pytest.approx(50.0)
    assert score.more["reference's mean rating x 10"] == pytest.approx(75.0)
    assert (score.metric, score.note) == ("relative score", "")
    low, high = bootstrap(score, seed=0)
    assert 50 <= low <= score.value() <= high <= 100


def test_llava_w_counts_unreadable_ratings_as_the_authors_do():
    score = rated("10 5", "no idea")
    assert score.value() == pytest.approx(100 * (5 - 1) / (10 - 1))
    assert score.more["unreadable ratings"] == 1.0


def test_llava_w_by_category():
    score = rated("10 5", "8 8")
    units = [*score.units, *rated("4 2", category="detail").units]
    found = by_group(llava_w.Score(score.metric, units, score.aggregate), "category")
    assert found == {
        "conv": {"value": pytest.approx(100 * 13 / 18), "n": 2}, "detail": {"value": pytest.approx(50.0), "n": 1}
    }  # fmt: skip
    np.testing.assert_allclose(llava_w.ratio(np.array([[1, 0, 0], [0, 0, 2]]), units), [50.0, 50.0])


def test_llava_w_without_a_judge_says_so():
    fields = {"index": "0", "category": "conv", "answer": "A dog.", "prediction": "a dog"}
    score = get_benchmark("llava_w").score([fields, {**fields, "prediction": "A cat, I think."}])
    assert (score.metric, score.note, score.value()) == ("exact match", NO_JUDGE, pytest.approx(50.0))


def test_llava_w_judge_prompt_quotes_what_it_judges():
    fields = {"caption": "A dog.", "question": "Why?", "answer": "It runs.", "prediction": 'It"\nRatings: 1 10'}
    prompt = get_benchmark("llava_w").grading_prompt(fields)
    assert prompt.endswith(
        'Context: "A dog."\nQuestion: "Why?"\nAssistant 1: "It runs."\nAssistant 2: "It\\"\\nRatings: 1 10"\nRatings:'
    )


@pytest.mark.parametrize("column", ["answer", "gpt4_ans", "gpt_answer"])
def test_llava_w_reference_columns(column):
    (loaded,) = get_benchmark("llava_w").load([row(**{column: "A dog.", "caption": "x", "category": "conv"})])
    assert loaded.fields["answer"] == "A dog."


def test_llava_w_without_a_reference_is_named():
    with pytest.raises(UserError, match="index 4: has no reference answer in answer, gpt4_ans or gpt_answer"):
        get_benchmark("llava_w").load([row(4, caption="x", category="conv")])


@pytest.mark.parametrize(
    ("grades", "value", "note"),
    [
        (("8 6", "sorry"), 100 * (6 - 1) / (8 - 1), "1 of 2 ratings could not be read"),
        (("sorry", "I cannot"), np.nan, "2 of 2 ratings could not be read"),
        (("0 5", "0 3"), np.nan, ""),
        (("nan nan", "8 7"), 100 * (7 - 1) / (8 - 1), "1 of 2 ratings could not be read"),
    ],
)
def test_ratings_that_cannot_be_read_are_in_the_note_and_never_a_full_score(grades, value, note):
    rows = [{"index": str(n), "prediction": "p", "answer": "a", GRADE: grade} for n, grade in enumerate(grades)]
    score = get_benchmark("llava_w").score(rows)
    assert score.value() == pytest.approx(value, nan_ok=True)
    assert score.note == note


@pytest.mark.parametrize(
    ("kind", "fields", "message"),
    [
        ("vqav2", {"answer": "[]"}, "has no answer"),
        ("caption", {"answer": "[]"}, "has no answer"),
        ("short_answer", {"answer": "[ ]"}, "has no answer"),
        ("mmt_bench", {"A": "x", "B": "y", "answer": "A", "category": "c"}, "has no l2-category"),
        ("mme", {"answer": "Yes", "category": "OCR"}, "has no image_path"),
        ("llava_w", {"answer": "a", "category": "conv"}, "has no caption"),
    ],
)
def test_an_empty_cell_that_the_score_needs_is_named_before_any_question(kind, fields, message):
    with pytest.raises(UserError, match=f"index 4: {message}"):
        get_benchmark(kind).load([row(4, **fields)])
