"""Means over seeds, differences and the papers' derived columns, on numbers computed by hand."""

from __future__ import annotations

import math

import pytest

from mmssr_jax.core.errors import UserError
from mmssr_jax.evaluation.comparison import compare
from mmssr_jax.evaluation.score import Score, mean_score


def accuracy(right: int, of: int = 10, scale: float = 100.0) -> Score:
    rows = [{"index": str(i), "right": str(int(i < right))} for i in range(of)]
    return mean_score("accuracy", rows, lambda row: float(row["right"]), scale=scale)


SCORES = {
    "good_0": {"easy": accuracy(8), "hard": accuracy(4)},
    "good_1": {"easy": accuracy(10), "hard": accuracy(4)},
    "random_0": {"easy": accuracy(6), "hard": accuracy(5)},
    "random_1": {"easy": accuracy(8), "hard": accuracy(5)},
    "full": {"easy": accuracy(10), "hard": accuracy(8)},
}
GROUPS = {"good": ("good_0", "good_1"), "random": ("random_0", "random_1"), "full": ("full",)}


def comparison(**more):
    settings = {"groups": GROUPS, "averages": {}, "baseline": "random", "full": "full", "seed": 0, **more}
    return compare(SCORES, **settings)


def test_means_and_deviations():
    good = comparison()["groups"]["good"]
    assert good["runs"] == ["good_0", "good_1"]
    assert good["benchmarks"]["easy"] == {
        "metric": "accuracy", "values": [80, 100], "mean": 90, "sd": pytest.approx(math.sqrt(200)),
    }  # fmt: skip
    assert good["averages"]["all"]["values"] == [60, 70]
    assert comparison()["groups"]["full"]["benchmarks"]["easy"]["sd"] is None


def test_over_full_and_better_than_random():
    groups = comparison()["groups"]
    assert groups["good"]["over_full"] == 70  # (90/100 + 40/80) / 2
    assert groups["full"]["over_full"] == 100
    assert groups["good"]["better_than_baseline"] == {"count": 1, "of": 2}
    assert "better_than_baseline" not in groups["random"]


def test_over_full_of_the_published_table():
    """The headline row of mmSSR at 30 %: the paper prints 99.11 of FULL, its rounded columns give 99.12."""
    mmssr = (79.57, 57.53, 44.87, 48.49, 56.24, 59.83, 2132.93, 81.25, 92.46, 57.40)
    full = (80.57, 59.40, 45.16, 47.16, 56.87, 60.73, 2117.56, 81.87, 92.76, 59.60)

    def constant(number: float) -> Score:
        return Score("x", accuracy(1).units, lambda weights, units: number * weights.mean(axis=1))

    scores = {
        name: {str(i): constant(v) for i, v in enumerate(row)} for name, row in (("mmssr", mmssr), ("full", full))
    }
    groups = {"mmssr": ("mmssr",), "full": ("full",)}
    result = compare(scores, groups=groups, averages={}, baseline=None, full="full", seed=0)
    assert result["groups"]["mmssr"]["over_full"] == pytest.approx(99.12, abs=0.005)


def test_differences():
    easy = comparison()["differences"]["good"]["easy"]
    assert easy["mean"] == 20
    assert easy["standard_error"] == pytest.approx(math.sqrt(200 / 2 + 200 / 2))
    assert (easy["lowest"], easy["highest"]) == (0, 40)
    assert easy["interval"][0] < 20 < easy["interval"][1]
    everything = comparison()["differences"]["good"]["all"]
    assert everything["mean"] == 5
    assert everything["interval"][0] < 5 < everything["interval"][1]


def test_the_interval_of_an_average_over_one_benchmark_is_its_own_in_percent():
    scores = {"a": {"mme": accuracy(8, scale=200.0)}, "b": {"mme": accuracy(5, scale=200.0)}}
    result = compare(scores, groups={"a": ("a",), "b": ("b",)}, averages={}, baseline="b", full=None, seed=0)
    found = result["differences"]["a"]
    assert found["mme"]["mean"] == 30
    assert found["all"]["mean"] == 15
    assert found["all"]["interval"] == [edge / 2 for edge in found["mme"]["interval"]]


def test_difference_on_equal_answers_has_no_interval_to_speak_of():
    """All runs are drawn the same questions, so that equal answers differ by nothing, however few they are."""
    result = comparison(groups={"a": ("good_0",), "b": ("good_0",)}, baseline="b", full=None)
    assert result["differences"]["a"]["easy"]["interval"] == [0, 0]


def test_averages_of_benchmarks_and_of_averages():
    averages = {"general": ("easy",), "knowledge": ("hard",), "mmbase": ("general", "knowledge")}
    found = comparison(averages=averages)["groups"]["good"]["averages"]
    assert (found["general"]["mean"], found["knowledge"]["mean"], found["mmbase"]["mean"]) == (90, 40, 65)


def test_averages_take_percentages():
    """MME's sum of 1400 of 2800 counts as 50."""
    scores = {"run": {"mme": accuracy(5, scale=200.0), "other": accuracy(10)}}
    result = compare(scores, groups={"g": ("run",)}, averages={}, baseline=None, full=None, seed=0)
    assert result["groups"]["g"]["averages"]["all"]["mean"] == 62.5


@pytest.mark.parametrize(
    ("more", "line"),
    [
        ({"groups": {"x": ("absent",)}, "baseline": None, "full": None}, "group 'x': absent is not evaluated"),
        ({"groups": {"x": ()}, "baseline": None, "full": None}, "group 'x' has no runs"),
        ({"baseline": "rand"}, "baseline='rand' is not a group"),
        ({"full": "all data"}, "full='all data' is not a group"),
        ({"averages": {"general": ("mme",)}}, "average 'general': no benchmark, nor an average before it, is mme"),
        ({"averages": {"easy": ("hard",)}}, "average 'easy': the name is taken"),
    ],
)
def test_mistakes(more, line):
    with pytest.raises(UserError) as error:
        comparison(**more)
    assert line in str(error.value)


def test_runs_asked_different_questions_are_not_compared():
    other = {**SCORES, "good_0": {"easy": accuracy(8, of=9), "hard": accuracy(4)}}
    with pytest.raises(UserError, match=r"different questions"):
        compare(other, groups=GROUPS, averages={}, baseline="random", full=None, seed=0)
