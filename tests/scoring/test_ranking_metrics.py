import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmssr_jax.scoring import ranking_metrics

PAIRS = st.lists(st.tuples(st.sampled_from([0.0, 0.5, 1.0, 1.5, 2.0]), st.integers(0, 5)), min_size=2, max_size=40)


def brute_concordance(scores, truth):
    won, pairs = 0.0, 0
    for s_i, t_i in zip(scores, truth, strict=True):
        for s_j, t_j in zip(scores, truth, strict=True):
            if t_i > t_j:
                pairs += 1
                won += 1.0 if s_i > s_j else 0.5 if s_i == s_j else 0.0
    return won, pairs


@given(PAIRS)
def test_concordance_is_the_share_of_pairs_in_the_right_order(rows):
    scores, truth = (np.array(x, float) for x in zip(*rows, strict=True))
    won, pairs = brute_concordance(scores, truth)
    value, counted = ranking_metrics.concordance(scores, truth)
    assert counted == pairs
    if pairs:
        assert value == pytest.approx(won / pairs, abs=1e-12)
    else:
        assert np.isnan(value)


def test_concordance_by_hand():
    #   pairs with truth_i > truth_j: (2,0) right, (2,1) tied, (1,0) right -> 2.5 of 3
    assert ranking_metrics.concordance(np.array([0.1, 0.7, 0.7]), np.array([0.0, 1.0, 2.0])) == (2.5 / 3, 3)


def test_rows_without_score_or_truth_are_left_out():
    scores = np.array([0.1, np.nan, 0.3, 0.9])
    truth = np.array([0.0, 5.0, 1.0, np.nan])
    assert ranking_metrics.concordance(scores, truth) == (1.0, 1)


def test_weights_are_multiplicities():
    scores, truth = np.array([0.3, 0.1, 0.2]), np.array([0.0, 0.0, 1.0])
    draws = np.array([2, 1, 3])
    assert ranking_metrics.concordance(scores, truth, draws) == ranking_metrics.concordance(
        np.repeat(scores, draws), np.repeat(truth, draws)
    )


def test_macro_average_is_of_the_capabilities_that_have_a_pair():
    scores = np.array([[0.1, 0.5, 0.2], [0.2, 0.5, 0.1]])
    truth = np.array([[0.0, 3.0, 0.0], [1.0, 3.0, 1.0]])
    assert ranking_metrics.macro_concordance(scores, truth) == 0.5
    assert np.isnan(ranking_metrics.macro_concordance(scores[:, 1:2], truth[:, 1:2]))


def test_bootstrap_is_seeded_paired_and_centred():
    rng = np.random.default_rng(3)
    truth = rng.integers(0, 6, (200, 2)).astype(float)
    good, noise = truth + rng.normal(0, 1.0, truth.shape), rng.normal(size=truth.shape)
    draws = ranking_metrics.bootstrap_concordance([good, good, noise], truth, resamples=100, seed=1)
    assert draws.shape == (100, 3)
    np.testing.assert_array_equal(draws[:, 0], draws[:, 1])
    np.testing.assert_array_equal(
        draws, ranking_metrics.bootstrap_concordance([good, good, noise], truth, resamples=100, seed=1)
    )
    assert draws[:, 0].mean() == pytest.approx(ranking_metrics.macro_concordance(good, truth), abs=0.01)
    assert 0.003 < draws[:, 0].std() < 0.03


def test_top_precision_against_the_oracle():
    scores = np.arange(20.0)
    truth = np.zeros(20)
    truth[[19, 3]] = 4, 3  # one of the two good rows is in the top two
    assert ranking_metrics.top_precision(scores, truth) == {"k": 2, "precision": 0.5, "oracle": 1.0, "ratio": 0.5}
    truth[3] = 2  # the oracle itself cannot fill two places now
    assert ranking_metrics.top_precision(scores, truth) == {"k": 2, "precision": 0.5, "oracle": 0.5, "ratio": 1.0}
    assert np.isnan(ranking_metrics.top_precision(scores, np.zeros(20))["ratio"])


def test_ties_at_the_cut_count_in_proportion():
    truth = np.array([5.0] * 5 + [0.0] * 15)
    assert ranking_metrics.top_precision(np.zeros(20), truth)["precision"] == pytest.approx(0.25)


def test_halves_round_up_and_stay_on_the_scale():
    assert ranking_metrics.rounded(np.array([-0.2, 0.49, 0.5, 1.5, 2.5, 5.4])).tolist() == [0, 0, 1, 2, 3, 5]


def test_confusion_has_truth_in_rows():
    table = ranking_metrics.confusion(np.array([0.4, 4.6]), np.array([2.0, 5.0]))
    assert table[2, 0] == 1
    assert table[5, 5] == 1
    assert table.sum() == 2


def test_calibration_lists_what_each_rounded_score_was_worth():
    rows = ranking_metrics.calibration(np.array([0.1, 0.3, 3.2]), np.array([0.0, 1.0, 5.0]))
    assert rows == [
        {"score": 0, "n": 2, "mean_score": pytest.approx(0.2), "mean_truth": 0.5},
        {"score": 3, "n": 1, "mean_score": 3.2, "mean_truth": 5.0},
    ]
