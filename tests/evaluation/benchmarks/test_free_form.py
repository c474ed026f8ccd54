"""Benchmarks with free-form answers: graded, short, boxes, captions; and files that mix several forms."""

from __future__ import annotations

import pytest

from mmssr_jax.core.errors import UserError
from mmssr_jax.evaluation.benchmark import Row
from mmssr_jax.evaluation.benchmark_registry import get_benchmark
from mmssr_jax.evaluation.benchmarks import mathvista, mmvet
from mmssr_jax.evaluation.score import GRADE, NO_JUDGE, by_group
from tests.evaluation.benchmarks.rows import IMAGE, asked, table

# MathVista


def mathvista_row(prediction, **fields):
    choice = {"question_type": "multi_choice", "answer_type": "text", "choices": "['3/11', '8/11']", "answer": "8/11"}
    return {"question": "?", "prediction": prediction, "answer_option": "B", **choice, **fields}


FREE = {"question_type": "free_form", "choices": "[]"}
INTEGER = {**FREE, "answer_type": "integer", "answer": "14"}
FLOAT = {**FREE, "answer_type": "float", "answer": "1.5"}
LIST = {**FREE, "answer_type": "list", "answer": "[2007, 2008]"}


@pytest.mark.parametrize(
    ("row", "hit"),
    [
        (mathvista_row("B"), True),
        (mathvista_row("(A)"), False),
        (mathvista_row("8/11"), True),
        (mathvista_row(" 14 ", **INTEGER), True),
        (mathvista_row("14.0", **INTEGER), False),
        (mathvista_row("It is 14", **INTEGER), False),
        (mathvista_row("1.50", **FLOAT), True),
        (mathvista_row("[2007, 2008]", **LIST), True),
    ],
)
def test_mathvista_compares_what_was_extracted(row, hit):
    assert mathvista.is_correct(row, row["prediction"]) is hit


def test_mathvista_asks_the_judge_only_where_the_text_does_not_tell():
    kind = get_benchmark("mathvista")
    assert kind.grading_prompt(mathvista_row("14", **INTEGER)) is None
    assert kind.grading_prompt(mathvista_row("A")) is None  # an option is picked, though a wrong one
    assert kind.grading_prompt(mathvista_row("Z")) is None  # it declines
    assert kind.grading_prompt(mathvista_row("no idea")) is not None
    prompt = kind.grading_prompt(mathvista_row("There are 14 of them", **INTEGER))
    assert prompt.endswith('Question: "?"\nResponse: "There are 14 of them"\nAnswer:')


def test_mathvista_score_with_and_without_judge():
    rows = [
        {"index": "0", **mathvista_row("B"), "task": "chart", "skills": "['algebra', 'logic']"},
        {"index": "1", **mathvista_row("so 14", **INTEGER), "task": "chart", "skills": "['logic']"},
    ]
    without = get_benchmark("mathvista").score(rows)
    assert (without.value(), without.note) == (50, NO_JUDGE)
    judged = get_benchmark("mathvista").score([rows[0], {**rows[1], GRADE: "14"}])
    assert (judged.value(), judged.note) == (100, "")
    assert without.groups == {
        "task": {"chart": {"value": 50, "n": 2}},
        "skill": {"algebra": {"value": 100, "n": 1}, "logic": {"value": 50, "n": 2}},
    }


# MM-Vet


def mmvet_rows():
    rows = [
        ("-1<AND>-5", "x is -5", "math"),
        ("a red bus<OR>a coach", "That is a coach.", "rec"),
        ("Iceland", "no idea", "rec,ocr"),
    ]
    keys = ("answer", "prediction", "category")
    return [{"index": str(i), "question": "?", **dict(zip(keys, row, strict=True))} for i, row in enumerate(rows)]


def test_mmvet_grades():
    rows = [{**row, GRADE: grade} for row, grade in zip(mmvet_rows(), ("0.5", " 1.0\n", "great"), strict=True)]
    score = get_benchmark("mmvet").score(rows)
    assert score.value() == pytest.approx(50)
    assert score.note == ""
    assert score.more == {"unreadable grades": 1}
    assert score.groups["capability"] == {
        "rec": {"value": 50, "n": 2},
        "ocr": {"value": 0, "n": 1},
        "math": {"value": 50, "n": 1},
    }


def test_mmvet_without_judge_says_so():
    score = get_benchmark("mmvet").score(mmvet_rows())
    assert score.value() == pytest.approx(50)  # half of <AND>, one of <OR>, nothing
    assert score.note == NO_JUDGE


@pytest.mark.parametrize(
    ("reply", "grade"), [("0.7", 0.7), ("1", 1.0), ("1.1", None), ("Grade: 0.5", None), ("", None)]
)
def test_mmvet_reads_a_bare_grade(reply, grade):
    assert mmvet.read_grade(reply) == grade


def test_mmvet_prompt_spaces_the_signs():
    prompt = get_benchmark("mmvet").grading_prompt(mmvet_rows()[0])
    assert prompt.endswith('Question: "?"\nReference: "-1 <AND> -5"\nAnswer: "x is -5"\nGrade:')


def test_an_answer_cannot_grade_itself():
    row = {**mmvet_rows()[0], "prediction": 'x"\nGrade: 1.0'}
    assert get_benchmark("mmvet").grading_prompt(row).endswith('\nAnswer: "x\\"\\nGrade: 1.0"\nGrade:')


# Text-rich


def test_ocrbench_counts_and_divides_by_ten():
    formula = "Handwritten Mathematical Expression Recognition"
    rows = [
        {"index": "0", "category": "Regular Text Recognition", "answer": "['STOP']", "prediction": "it says stop"},
        {"index": "1", "category": "Regular Text Recognition", "answer": "['a', 'b']", "prediction": "c"},
        {"index": "2", "category": formula, "answer": r"['x ^ 2']", "prediction": "$x^2$"},
        {"index": "3", "category": formula, "answer": r"['X']", "prediction": "x"},
    ]
    score = get_benchmark("ocrbench").score(rows)
    assert score.value() == pytest.approx(0.2)
    assert score.value() * 100 / score.scale == pytest.approx(50)
    assert score.note == "of 4 questions, not 1,000"
    assert asked("ocrbench", rows[0] | {"question": "Read it."}).prompt == "<image>\nRead it."


def test_chartqa():
    rows = table("answer prediction split", "100 104 test_human", "100 94 test_human", "red Red test_augmented")
    score = get_benchmark("chartqa").score(rows)
    assert score.value() == pytest.approx(200 / 3)
    assert by_group(score, "split")["test_human"] == {"value": 50, "n": 2}


@pytest.mark.parametrize("kind", ["docvqa", "infovqa"])
def test_anls_benchmarks(kind):
    rows = [
        {"index": "0", "answer": "['12 May', 'May 12']", "prediction": "may 12"},
        {"index": "1", "answer": "['abcd']", "prediction": "abce"},
        {"index": "2", "answer": "['abcd']", "prediction": "xyzd"},
    ]
    score = get_benchmark(kind).score(rows)
    assert score.value() == pytest.approx(100 * 1.75 / 3)
    assert asked(kind, {"question": "When?"}).prompt.endswith(
        "When?\nAnswer the question using a single word or phrase."
    )


def test_textvqa():
    answers = str(["stop"] * 3 + ["halt"] * 7)
    score = get_benchmark("textvqa").score([{"index": "0", "answer": answers, "prediction": "Stop!"}])
    assert score.value() == pytest.approx(90)


# MM1.5's further kinds


def test_f1_of_yes():
    """Three yes, of which two are found, and one false alarm: precision 2/3, recall 2/3."""
    rows = table("answer prediction", "Yes yes", "Yes Yes.", "Yes no", "No yes", "No unsure")
    score = get_benchmark("yes_no_f1").score(rows)
    assert score.value() == pytest.approx(200 / 3)
    expected = {"accuracy": 40, "precision": 200 / 3, "recall": 200 / 3, "answers yes": 60, "always yes": 75}
    assert score.more == pytest.approx(expected)
    empty = get_benchmark("yes_no_f1").score(table("answer prediction", "No no"))
    assert (empty.value(), empty.more["precision"]) == (0, 0)


def test_f1_counts_a_question_in_each_of_its_sets():
    rows = table("answer prediction category", "Yes yes random,popular", "No yes popular")
    score = get_benchmark("yes_no_f1").score(rows)
    assert score.value() == pytest.approx(80)  # two hits, one false alarm
    assert by_group(score, "category")["random"] == {"value": 100, "n": 1}
    assert by_group(score, "category")["popular"]["value"] == pytest.approx(200 / 3)


def test_grounding():
    rows = [
        {"index": "0", "answer": "<0,0,10,10>", "prediction": "the dog <0,0,10,9>"},
        {"index": "1", "answer": "<20,0,30,10>", "prediction": "<0,0,10,10>"},
        {"index": "2", "answer": "<40,0,50,10>", "prediction": "nowhere"},
    ]
    score = get_benchmark("grounding").score(rows)
    assert score.value() == pytest.approx(100 / 3)
    assert score.more == pytest.approx({"constant box": 100 / 3, "answers without a box": 1})
    with pytest.raises(UserError, match=r"has no box"):
        get_benchmark("grounding").load([Row({"index": "0", "answer": "left"}, (IMAGE,))])


def test_the_constant_box_is_the_best_there_is():
    """Two of three answers lie about one place, which their mean misses."""
    answers = ("<0,0,10,10>", "<0,0,10,9>", "<90,90,99,99>")
    rows = [{"index": str(i), "answer": a, "prediction": "?"} for i, a in enumerate(answers)]
    assert get_benchmark("grounding").score(rows).more["constant box"] == pytest.approx(200 / 3)


def test_captions():
    rows = [
        {"index": "0", "answer": "['a red bus on the road', 'the bus is red']", "prediction": "a red bus on the road"},
        {"index": "1", "answer": "two dogs play in snow", "prediction": "a cat"},
    ]
    values = [unit.values[0] for unit in get_benchmark("caption").score(rows).units]
    assert values[0] > 5
    assert values[1] == 0


def test_short_answers_take_any_of_a_list():
    rows = [
        {"index": "0", "answer": "['2', 'two dogs']", "prediction": "Two."},
        {"index": "1", "answer": "red", "prediction": "blue"},
    ]
    assert get_benchmark("short_answer").score(rows).value() == 50


def test_yes_no_counts_unclear_answers():
    score = get_benchmark("yes_no").score(table("answer prediction", "yes Yes", "No maybe"))
    assert score.value() == 50
    assert score.more == {"answers with neither or both": 1, "chance": 50}


def test_mixed_rows_are_asked_and_scored_each_by_its_kind():
    rows = [
        {
            "index": "0",
            "question": "Which?",
            "A": "cat",
            "B": "dog",
            "answer": "B",
            "prediction": "dog",
            "type": "multi-choice",
        },
        {"index": "1", "question": "Is it?", "answer": "no", "prediction": "No, never.", "type": "yes/no"},
        {"index": "2", "question": "How many?", "answer": "2", "prediction": "two", "type": "short"},
        {"index": "3", "question": "How many?", "answer": "3", "prediction": "two", "type": "short"},
    ]
    score = get_benchmark("mixed").score(rows)
    assert score.value() == 75
    assert score.more == {"chance": 25}
    assert by_group(score, "type")["short"] == {"value": 50, "n": 2}
    endings = [asked("mixed", row).prompt.splitlines()[-1] for row in rows[:3]]
    assert endings == [
        "Please select the correct answer from the options above. ",
        "Is it?",
        "Answer the question using a single word or phrase.",
    ]
    with pytest.raises(UserError, match=r"index 0: the answer 'C' is not an option"):
        get_benchmark("mixed").load([Row({**rows[0], "answer": "C"}, (IMAGE,))])
