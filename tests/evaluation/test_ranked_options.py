"""The options of a question: given, or sampled from the other answers of its category."""

from __future__ import annotations

import pytest

from mmssr_jax.core.errors import UserError
from mmssr_jax.evaluation.benchmark_registry import get_benchmark
from mmssr_jax.evaluation.ranked_options import RankedOptions, complete_options

CHOICE = {"index": "c", "A": "a cat", "B": "a dog", "C": "a hen", "answer": "B"}
ANSWERS = ("red", "green", "Blue", "blue", "the red", "12")
COLOURS = [
    {"index": str(i), "question": "Which?", "answer": answer, "category": "colour" if i < 5 else "count"}
    for i, answer in enumerate(ANSWERS)
]


def completed(rows, *, kind="mixed", count=3, seed=0):
    make = get_benchmark(kind).options
    assert make is not None
    return complete_options(rows, make, count=count, seed=seed)


def test_given_options_keep_their_order():
    (options,) = completed([CHOICE])
    assert options == RankedOptions(("a cat", "a dog", "a hen"), 1, ("A", "B", "C"))
    assert options.continuations("texts") == ("a cat", "a dog", "a hen")
    assert options.continuations("letters") == options.labels == ("A", "B", "C")


@pytest.mark.parametrize(("answer", "right"), [("Yes", 0), ("yes", 0), ("No", 1)])
def test_yes_and_no(answer, right):
    (options,) = completed([{"index": "0", "answer": answer}])
    assert (options.continuations("letters"), options.right) == (("Yes", "No"), right)


@pytest.mark.parametrize("kind", ["multiple_choice", "mmbench", "mmt_bench", "blink", "ai2d", "scienceqa", "mmstar"])
def test_benchmarks_of_choices(kind):
    assert completed([CHOICE], kind=kind)[0].texts[1] == "a dog"


@pytest.mark.parametrize("kind", ["yes_no", "yes_no_f1", "mme"])
def test_benchmarks_of_yes_and_no(kind):
    assert completed([{"index": "0", "answer": "No"}], kind=kind)[0].right == 1


def test_given_distractors():
    row = {"index": "0", "answer": "['two', '2', '2']", "distractors": '["3", "4"]'}
    (options,) = completed([row])
    assert sorted(options.texts) == ["2", "3", "4"]
    assert options.texts[options.right] == "2"
    with pytest.raises(UserError, match=r"index 0: the distractor 'Two' is a correct answer"):
        completed([{**row, "distractors": "['Two']"}])


def test_sampled_distractors_are_other_answers_of_the_category():
    rows = [*COLOURS, {"index": "6", "question": "?", "answer": "7", "category": "count"}]
    for options in completed(rows)[:5]:
        right = options.texts[options.right].lower().removeprefix("the ")
        assert sorted(text.lower().removeprefix("the ") for text in options.texts) == ["blue", "green", "red"]
        assert right in options.references[0].lower()
    assert sorted(completed(rows)[5].texts) == ["12", "7"]


def test_the_number_of_distractors():
    assert [len(options.texts) for options in completed(COLOURS[:5], count=1)] == [2] * 5


def test_the_order_of_rows_changes_nothing_and_the_seed_does():
    rows = [{"index": str(i), "answer": f"answer {i}"} for i in range(20)]
    forward, backward = completed(rows), completed(rows[::-1])
    assert forward == backward[::-1]
    assert forward != completed(rows, seed=1)


def test_the_right_answer_has_no_preferred_place():
    """Otherwise ties, which go to the first, would favour it."""
    rows = [{"index": str(i), "answer": f"answer {i}"} for i in range(400)]
    places = [options.right for options in completed(rows)]
    assert all(70 < places.count(place) < 130 for place in range(4))


def test_a_category_with_one_answer_is_an_error():
    with pytest.raises(UserError, match=r"index 5: no other answer in its category .* add a column 'distractors'"):
        completed(COLOURS)
