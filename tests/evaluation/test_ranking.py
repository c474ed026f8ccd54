"""Every score of ranked answers against tables made by hand; the definitions are those of ranking.py's docstring."""

from __future__ import annotations

import json

import numpy as np
import pytest

from mmssr_jax.core.errors import UserError
from mmssr_jax.evaluation.benchmark import Question
from mmssr_jax.evaluation.benchmark_registry import get_benchmark
from mmssr_jax.evaluation.ranked_options import complete_options
from mmssr_jax.evaluation.ranking import (
    OptionLikelihoods,
    RankedAnswer,
    RankedQuestion,
    rank,
    ranked_score,
    read_ranked,
)
from mmssr_jax.evaluation.score import bootstrap

CHOICE = get_benchmark("multiple_choice")


def row(index, log_p, *, right="A", empty=(0.0, 0.0), tokens=(1, 1), texts=("ab", "cdefgh"), prediction=None):
    """A row of a prediction table, with the prediction that `rank` would record."""
    log_p, empty = np.array(log_p), np.array(empty)
    answer = RankedAnswer(texts, "AB".index(right), log_p, empty, np.array(tokens))
    fields = {"index": index, "A": texts[0], "B": texts[1], "answer": right, "category": "xy"[int(index) % 2]}
    return {**fields, "prediction": prediction or "AB"[int(np.argmax(log_p))], **answer.columns()}


def values(rows, blank=None):
    return {name: score.value() for name, score in ranked_score(CHOICE, rows, blank).variants.items()}


# One question whose right option is "cdefgh" (6 characters, 4 tokens), the other "ab" (2 characters, 1 token).
@pytest.mark.parametrize(
    ("log_p", "empty", "expected"),
    [
        ((-2.0, -3.0), (-1.0, -1.0), {"acc": 0, "acc_norm": 100, "acc_mutual_info": 0, "acc_per_token": 100}),
        ((-2.0, -7.0), (-1.0, -7.0), {"acc": 0, "acc_norm": 0, "acc_mutual_info": 100, "acc_per_token": 100}),
        ((-2.0, -9.0), (-1.0, -8.5), {"acc": 0, "acc_norm": 0, "acc_mutual_info": 100, "acc_per_token": 0}),
        ((-3.0, -2.0), (-3.0, -1.0), {"acc": 100, "acc_norm": 100, "acc_mutual_info": 0, "acc_per_token": 100}),
        ((-2.0, -2.0), (-2.0, -2.0), {"acc": 0, "acc_norm": 100, "acc_mutual_info": 0, "acc_per_token": 100}),
    ],
)
def test_accuracies_by_hand(log_p, empty, expected):
    table = [row("0", log_p, right="B", empty=empty, tokens=(1, 4))]
    measured = values(table)
    assert {name: measured[name] for name in expected} == expected


def test_the_likelihood_of_the_right_option():
    rows = [row("0", (-2.0, -3.0), right="B", tokens=(1, 4)), row("1", (-1.5, -3.0), right="A", tokens=(3, 4))]
    assert values(rows)["nll"] == (3.0 + 1.5) / 2
    assert values(rows)["nll_per_token"] == (3.0 / 4 + 1.5 / 3) / 2


def test_ties_go_to_the_first():
    rows = [row("0", (-1.0, -1.0), right="A"), row("1", (-1.0, -1.0), right="B")]
    assert values(rows)["acc"] == 50
    assert ranked_score(CHOICE, rows).value() == 50


def test_gray_images_are_subtracted():
    rows = [row("0", (-2.0, -3.0), right="B"), row("1", (-2.0, -3.0), right="B")]
    blank = [row("0", (-2.0, -4.0), right="B"), row("1", (-2.5, -3.0), right="B")]
    assert values(rows, blank)["acc_minus_blank"] == 50
    assert "acc_minus_blank" not in values(rows)
    with pytest.raises(UserError, match=r"different questions"):
        values(rows, blank[::-1])


def test_the_metric_is_of_the_recorded_prediction():
    """The options' texts would mislead a reader of free text ("A dog" names option A)."""
    rows = [row("0", (-2.0, -1.0), right="B", texts=("no dog", "A dog"))]
    assert ranked_score(CHOICE, rows).value() == 100


def test_chance_counts_the_options_of_short_answers():
    questions = [Question(str(i), "?", (), {"index": str(i), "answer": a}) for i, a in enumerate(("x", "y", "z", "No"))]
    mixed = get_benchmark("mixed")
    options = complete_options([q.fields for q in questions], mixed.options, count=3, seed=0)
    items = [RankedQuestion(*pair) for pair in zip(questions, options, strict=True)]
    table = [{**q.fields, **c} for q, c in zip(questions, rank(Lengths(), items, rank_by="texts"), strict=True)]
    assert ranked_score(mixed, table).more["chance"] == pytest.approx(100 * (3 * (1 / 3) + 1 / 2) / 4)


class Lengths:
    """log p = -(question number + 1) x characters, a number that decimals do not hold exactly."""

    def __init__(self):
        self.asked = []

    def log_likelihoods(self, questions, answers):
        self.asked.append([(q.prompt, len(q.images), tuple(a)) for q, a in zip(questions, answers, strict=True)])
        return [
            OptionLikelihoods(
                np.array([-(1 + len(q.prompt)) / 3 * len(t) for t in texts]), np.array([len(t) for t in texts])
            )
            for q, texts in zip(questions, answers, strict=True)
        ]


def test_rank_records_float32_exactly_and_asks_for_each_empty_context_once():
    fields = {"A": "a cat", "B": "dog", "answer": "A"}
    questions = [Question(str(i), "??", (), {"index": str(i), **fields}) for i in range(3)]
    options = complete_options([q.fields for q in questions], CHOICE.options, count=3, seed=0)
    items = [RankedQuestion(*pair) for pair in zip(questions, options, strict=True)]
    ranker = Lengths()
    columns = list(rank(ranker, items, rank_by="texts"))
    assert [len(calls) for calls in ranker.asked] == [3, 1]
    assert ranker.asked[1] == [("", 0, ("a cat", "dog"))]
    assert columns[0]["prediction"] == "B"
    assert json.loads(columns[0]["ranked_options"]) == ["a cat", "dog"]
    answer = read_ranked({"index": "0", **columns[0]})
    np.testing.assert_array_equal(answer.log_p.astype(np.float32), np.float32([-5, -3]))
    np.testing.assert_array_equal(answer.empty_log_p, np.float32([-5 / 3, -1]))
    assert list(answer.tokens) == [5, 3]


@pytest.mark.parametrize("value", [-1 / 3, -1e-7, -123456.789, -2.0, -16777217.0])
def test_every_float32_comes_back(value):
    fields = row("0", (value, -1.0))
    np.testing.assert_array_equal(read_ranked(fields).log_p.astype(np.float32)[0], np.float32(value))


def test_letters_are_ranked_where_there_are_letters():
    question = Question("0", "?", (), {"index": "0", "A": "a cat", "B": "dog", "answer": "A"})
    (options,) = complete_options([question.fields], CHOICE.options, count=3, seed=0)
    ranker = Lengths()
    (columns,) = rank(ranker, [RankedQuestion(question, options)], rank_by="letters")
    assert ranker.asked[0][0][2] == ("A", "B")
    assert columns["prediction"] == "A"


def test_a_written_table_is_refused():
    with pytest.raises(UserError, match=r"index 0: .* no ranked_options; was it written, not ranked"):
        ranked_score(CHOICE, [{"index": "0", "A": "a", "B": "b", "answer": "A", "prediction": "A"}])


def test_variants_have_their_own_intervals():
    rows = [row(str(i), (-1.0 - i, -3.0)) for i in range(10)]
    low, high = bootstrap(ranked_score(CHOICE, rows).variants["nll"], seed=0)
    assert 1 < low < 5.5 < high < 10


@pytest.mark.parametrize("value", [np.nan, -np.inf])
def test_a_model_without_finite_likelihoods_is_named(value):
    class Diverged(Lengths):
        def log_likelihoods(self, questions, answers):
            return [OptionLikelihoods(np.array([value, -1.0]), np.array([1, 1])) for _ in questions]

    question = Question("7", "?", (), {"index": "7", "A": "a cat", "B": "dog", "answer": "A"})
    (options,) = complete_options([question.fields], CHOICE.options, count=3, seed=0)
    with pytest.raises(UserError, match="index 7: the model gives its options no finite likelihood; its training has"):
        list(rank(Diverged(), [RankedQuestion(question, options)], rank_by="texts"))
