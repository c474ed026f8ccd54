import json

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from mmssr_jax.core.statistics import average_ranks, mean, quadratic_kappa, spearman, spearman_ceiling

RATINGS = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=2, max_size=30)
SCORES = st.lists(st.tuples(st.sampled_from([0.0, 0.5, 1.0, 1.5, 2.0]), st.integers(0, 5)), min_size=2, max_size=40)


def kappa_from_the_matrix(a, b):
    """The textbook form: observed and expected confusion matrices, weights (i - j)^2."""
    observed = np.zeros((6, 6))
    for x, y in zip(a, b, strict=True):
        observed[int(x), int(y)] += 1
    expected = np.outer(observed.sum(1), observed.sum(0)) / observed.sum()
    weights = np.subtract.outer(np.arange(6), np.arange(6)) ** 2
    bottom = (weights * expected).sum()
    return 1 - (weights * observed).sum() / bottom if bottom else np.nan


@given(RATINGS)
def test_kappa_is_the_textbooks(pairs):
    a, b = np.array(pairs).T
    np.testing.assert_allclose(quadratic_kappa(a, b), kappa_from_the_matrix(a, b), atol=1e-12)


def test_kappa_by_hand():
    truth, given_ = np.array([0, 0, 0, 5, 5, 5]), np.array([0, 0, 1, 5, 5, 0])
    # observed 1 + 25; expected by margins: truth (3 zeros, 3 fives), scores (3 zeros, 1 one, 2 fives)
    expected = (3 * 1 * 1 + 3 * 2 * 25 + 3 * 3 * 25 + 3 * 1 * 16) / 6
    assert quadratic_kappa(truth, given_) == pytest.approx(1 - 26 / expected)


@pytest.mark.parametrize("n", [0, 1, 4])
def test_constants_and_no_rows_have_no_agreement(n):
    same = np.full(n, 2.0)
    assert np.isnan(quadratic_kappa(same, same))
    assert np.isnan(spearman(same, same))


@given(SCORES)
def test_spearman_is_scipys(pairs):
    a, b = np.array(pairs, float).T
    if len(set(a)) > 1 and len(set(b)) > 1:
        np.testing.assert_allclose(spearman(a, b), scipy.stats.spearmanr(a, b).statistic, atol=1e-12)
    else:
        assert np.isnan(spearman(a, b))


def test_ranks_share_ties():
    assert average_ranks(np.array([3.0, 1.0, 3.0, 0.0])).tolist() == [3.5, 2.0, 3.5, 1.0]


@given(st.lists(st.integers(0, 5), min_size=2, max_size=60))
def test_a_perfect_score_without_ties_reaches_the_ceiling(truth):
    truth = np.array(truth, float)
    if len(set(truth)) > 1:
        perfect = truth + np.linspace(0, 0.5, len(truth))
        assert spearman(perfect, truth) == pytest.approx(spearman_ceiling(truth), abs=1e-9)
    else:
        assert spearman_ceiling(truth) == pytest.approx(0)


def test_ceiling_on_real_judgments_is_the_known_one(shared):
    lines = (shared / "judgments" / "judgments.jsonl").read_text().splitlines()
    truth = np.array([json.loads(line)["scores"] for line in lines], float)
    assert np.mean([spearman_ceiling(truth[:, c]) for c in range(14)]) == pytest.approx(0.77, abs=0.005)


def test_a_mean_is_of_what_is_defined():
    assert mean([1.0, float("nan"), 3.0]) == 2.0
    assert np.isnan(mean([float("nan")]))
