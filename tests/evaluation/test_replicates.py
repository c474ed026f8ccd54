"""Intervals, Holm and power against scipy, closed forms and simulations with known effects."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from mmssr_jax.evaluation.replicates import (
    Interval,
    gain_split,
    holm,
    paired_difference,
    power,
    replicates_needed,
    t_interval,
)


def test_an_interval_by_hand():
    """Mean 3, standard deviation 2 (ddof 1), error 1 with four replicates; t(0.975, 3) = 3.18245."""
    found = t_interval(np.array([1.0, 3.0, 3.0, 5.0]) * np.sqrt(1.5) + 3 * (1 - np.sqrt(1.5)))
    assert found.mean == pytest.approx(3.0)
    assert (found.low, found.high) == pytest.approx((3 - 3.18245, 3 + 3.18245), abs=1e-4)
    assert found.p == pytest.approx(stats.ttest_1samp([3 - 2 * 1.5**0.5, 3, 3, 3 + 2 * 1.5**0.5], 0).pvalue)


@given(st.lists(st.floats(-100, 100), min_size=2, max_size=12), st.sampled_from([0.8, 0.95, 0.99]))
def test_it_is_scipys_interval(values, level):
    values = np.array(values)
    if values.std() < 1e-6:
        return
    found = t_interval(values, level=level)
    low, high = stats.ttest_1samp(values, 0).confidence_interval(level)
    assert (found.low, found.high) == pytest.approx((low, high), rel=1e-9, abs=1e-9)


def test_too_few_replicates_have_no_interval():
    found = t_interval(np.array([2.0]))
    assert (found.mean, found.replicates) == (2.0, 1)
    assert np.isnan([found.low, found.high, found.p]).all()
    assert np.isnan(t_interval(np.zeros(0)).mean)


def test_equal_differences_leave_no_doubt():
    assert t_interval(np.full(5, 1.5)) == Interval(1.5, 1.5, 1.5, 0.0, 5)
    assert t_interval(np.zeros(5)).p == 1.0


def test_intervals_cover_as_often_as_they_say():
    """2,000 simulations of 5 paired replicates, a shared replicate effect ten times the difference: 93 to 97 %."""
    rng = np.random.default_rng(0)
    covered = 0
    for _ in range(2000):
        shared = rng.normal(0, 10, 5)
        found = paired_difference(shared + rng.normal(1.0, 1, 5), shared + rng.normal(0.5, 1, 5))
        covered += found.low <= 0.5 <= found.high
    assert 0.93 <= covered / 2000 <= 0.97


def test_holm_by_hand():
    """0.01 x 4, 0.02 x 3, 0.03 x 2 -> below the one before, so 0.06 again, 0.5."""
    found = holm({"d": 0.5, "a": 0.01, "c": 0.03, "b": 0.02})
    assert found == pytest.approx({"a": 0.04, "b": 0.06, "c": 0.06, "d": 0.5})
    assert list(found) == ["d", "a", "c", "b"]
    assert holm({"a": float("nan"), "b": 0.4}) == {"a": 1.0, "b": 0.8}


@given(st.dictionaries(st.text(max_size=3), st.floats(0, 1), max_size=8))
def test_holm_never_lowers_and_keeps_the_order(p_values):
    found = holm(p_values)
    assert all(found[name] >= p for name, p in p_values.items())
    order = sorted(p_values, key=lambda n: p_values[n])
    assert all(found[a] <= found[b] for a, b in itertools.pairwise(order))


def test_holm_keeps_the_familys_error():
    """2,000 families of 8 null comparisons of 5 replicates that share one baseline: any rejection in at most 6 %."""
    rng = np.random.default_rng(1)
    wrong = 0
    for _ in range(2000):
        baseline = rng.normal(0, 1, 5)
        p = {str(k): paired_difference(rng.normal(0, 1, 5), baseline).p for k in range(8)}
        wrong += min(holm(p).values()) <= 0.05
    assert wrong / 2000 <= 0.06


def test_power_is_what_a_simulation_finds():
    rng = np.random.default_rng(2)
    draws = rng.normal(1.0, 1.0, (20_000, 8))
    found = np.mean(stats.ttest_1samp(draws, 0, axis=1).pvalue <= 0.05)
    assert power(1.0, 1.0, 8) == pytest.approx(found, abs=0.01)
    assert power(0.0, 1.0, 8) == pytest.approx(0.05)
    assert (power(1.0, 1.0, 1), power(1.0, 0.0, 2), power(50.0, 1.0, 100)) == (0.0, 1.0, 1.0)


@pytest.mark.parametrize(("effect", "deviation"), [(1.0, 1.0), (0.5, 1.0), (-0.2, 1.0), (3.0, 1.0)])
def test_the_fewest_replicates_that_are_enough(effect, deviation):
    n = replicates_needed(effect, deviation)
    assert power(effect, deviation, n) >= 0.8 > power(effect, deviation, n - 1)


def test_no_number_of_replicates_finds_nothing():
    with pytest.raises(ValueError, match="effect of 0"):
        replicates_needed(0.0, 1.0)
    with pytest.raises(ValueError, match=r"over 100,000"):
        replicates_needed(1e-4, 1.0)


def test_the_parts_of_a_gain_add_up():
    rng = np.random.default_rng(3)
    method, matched, random = rng.normal(size=(3, 6))
    split = gain_split(method, matched, random)
    assert split["mixture"].mean + split["scores"].mean == pytest.approx(split["gain"].mean)
    assert split["scores"] == paired_difference(method, matched)


def test_a_replicate_that_is_no_number_gives_no_interval_and_no_p():
    found = paired_difference(np.array([50.0, 51.0, np.nan]), np.array([49.0, 50.0, 50.0]))
    assert np.isnan([found.mean, found.low, found.high, found.p]).all()
    assert holm({"bad": found.p, "x": 0.03, "y": 0.02}) == pytest.approx({"bad": 1.0, "x": 0.06, "y": 0.06})
