import re

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from mmssr_jax.judge.agreement import agreement, histograms, quadratic_kappa, ranks, spearman, style_counts
from mmssr_jax.judge.recorded import read_recorded
from mmssr_jax.judge.rubric import Judgment, Rubric, rubric_of

SMALL = rubric_of({"counting": "", "ocr": ""}, ("yes/no", "list"))
scores = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=2, max_size=30)


def kappa_from_the_matrix(a, b):
    """The textbook form: observed and expected confusion matrices, weights (i - j)^2."""
    observed = np.zeros((6, 6))
    for x, y in zip(a, b, strict=True):
        observed[int(x), int(y)] += 1
    expected = np.outer(observed.sum(1), observed.sum(0)) / observed.sum()
    weights = np.subtract.outer(np.arange(6), np.arange(6)) ** 2
    bottom = (weights * expected).sum()
    return 1 - (weights * observed).sum() / bottom if bottom else np.nan


@given(scores)
def test_kappa_is_the_textbooks(pairs):
    a, b = np.array(pairs, float).T
    np.testing.assert_allclose(quadratic_kappa(a, b), kappa_from_the_matrix(a, b), atol=1e-12)


@given(scores)
def test_spearman_is_scipys(pairs):
    a, b = np.array(pairs, float).T
    if len(set(a)) > 1 and len(set(b)) > 1:
        np.testing.assert_allclose(spearman(a, b), scipy.stats.spearmanr(a, b).statistic, atol=1e-12)
    else:
        assert np.isnan(spearman(a, b))


def test_ranks_share_ties():
    assert ranks(np.array([3.0, 1.0, 3.0, 0.0])).tolist() == [3.5, 2.0, 3.5, 1.0]


def test_published_agreement_of_the_real_ratings(shared):
    """The table in the ratings' README, row by row."""
    rubric = Rubric()
    first, second = (
        read_recorded(shared / "judgments" / name, rubric) for name in ("judgments.jsonl", "judgments_repeat.jsonl")
    )
    measured = agreement(first, second, rubric)
    counted = histograms(list(first.values()), rubric)
    text = (shared / "judgments" / "README.md").read_text()
    for capability in rubric.capabilities:
        row = re.search(rf"^\| {capability.name} \|(.*)\|$", text, re.MULTILINE)[1].split("|")
        expected = [None if "n/a" in cell else float(cell) for cell in row[:3]]
        found = measured["capabilities"][capability.slug]
        values = [found["spearman"], found["kappa"], found["mean_abs_difference"]]
        # the README rounds to two digits, 0.125 to 0.12
        assert [v is None for v in values] == [e is None for e in expected]
        np.testing.assert_allclose(
            [v for v in values if v is not None], [e for e in expected if e is not None], atol=0.0051
        )
        assert counted[capability.slug] == [int(n) for n in row[3].split("/")]
    assert measured["samples"] == 48
    assert round(measured["mean"]["spearman"], 2) == 0.87
    assert round(measured["mean"]["kappa"], 2) == 0.92


def test_small_table():
    first = {
        "a": Judgment((0, 3), ("list",)),
        "b": Judgment((2, 3), ("yes/no", "list")),
        "c": Judgment((1, 1), ("list",)),
    }
    second = {"a": Judgment((0, 4), ("list",)), "b": Judgment((2, 3), ("list",)), "x": Judgment((5, 5), ("list",))}
    measured = agreement(first, second, SMALL)
    assert measured["samples"] == 2
    assert measured["capabilities"]["counting"] == {"spearman": 1.0, "kappa": 1.0, "mean_abs_difference": 0.0}
    assert measured["capabilities"]["ocr"] == {"spearman": None, "kappa": 0.0, "mean_abs_difference": 0.5}
    assert measured["mean"] == {"spearman": 1.0, "kappa": 0.5, "mean_abs_difference": 0.25}
    assert measured["styles"]["same_main"] == 0.5
    assert measured["styles"]["jaccard"] == 0.75
    assert measured["styles"]["per_style"]["list"] == {"first": 2, "second": 2, "f1": 1.0}
    assert [(d["id"], d["difference"]) for d in measured["disagreements"]] == [("a", 1), ("b", 0)]


def test_nothing_in_common():
    measured = agreement({"a": Judgment((0, 3), ("list",))}, {}, SMALL)
    assert measured["samples"] == 0
    assert measured["mean"] == {"spearman": None, "kappa": None, "mean_abs_difference": None}


def test_counts():
    judgments = [Judgment((0, 5), ("list",)), Judgment((0, 1), ("yes/no", "list"))]
    assert histograms(judgments, SMALL) == {"counting": [2, 0, 0, 0, 0, 0], "ocr": [0, 1, 0, 0, 0, 1]}
    assert style_counts(judgments, SMALL) == {"yes/no": 1, "list": 2}


@pytest.mark.parametrize("n", [0, 1])
def test_too_few_for_a_correlation(n):
    assert np.isnan(spearman(np.zeros(n), np.zeros(n)))
