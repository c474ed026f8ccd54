"""Numbers of a benchmark and their intervals."""

from __future__ import annotations

import numpy as np
import pytest

from mmssr_jax.evaluation import score as score_lib
from mmssr_jax.evaluation.score import Score, Unit, mean_score, percent

ROWS = [
    {"index": "0", "category": "b", "right": "1"},
    {"index": "1", "category": "b", "right": "0"},
    {"index": "2", "category": "a", "right": "1"},
    {"index": "3", "category": "a", "right": "1"},
]


def example(**more) -> Score:
    return mean_score("accuracy", ROWS, lambda row: float(row["right"]), **more)


def test_value_and_categories():
    entry = score_lib.summary(example(more={"chance": 25.0}), seed=0)
    assert entry["value"] == entry["percent"] == 75
    assert entry["n"] == 4
    assert entry["categories"] == {"a": {"value": 100, "n": 2}, "b": {"value": 50, "n": 2}}
    assert entry["more"] == {"chance": 25}


def test_rows_without_a_category_have_none():
    assert score_lib.by_group(mean_score("accuracy", [{"index": "0"}], lambda _: 1.0), "category") == {}


def test_interval_is_that_of_a_proportion():
    """For 400 questions of which 300 are right the normal approximation gives 75 +- 4.24."""
    rows = [{"right": str(int(i < 300))} for i in range(400)]
    low, high = score_lib.bootstrap(mean_score("accuracy", rows, lambda r: float(r["right"])), seed=0)
    half = 1.96 * 100 * np.sqrt(0.75 * 0.25 / 400)
    assert low == pytest.approx(75 - half, abs=0.6)
    assert high == pytest.approx(75 + half, abs=0.6)


def test_interval_is_seeded():
    assert score_lib.bootstrap(example(), seed=1) == score_lib.bootstrap(example(), seed=1)


def test_interval_of_certain_units_is_a_point():
    rows = [{"right": "1"}] * 5
    assert score_lib.bootstrap(mean_score("accuracy", rows, lambda r: 1.0), seed=0) == (100, 100)


def test_stratified_draws_keep_every_category():
    """A sum over categories is undefined where one was not drawn; within strata each keeps its size."""

    def smallest_category(weights, units):
        names = np.array([u.category for u in units])
        return np.min([weights[:, names == n].sum(axis=1) for n in ("a", "b")], axis=0)

    units = [Unit((1.0,), {"category": c}) for c in "abbbbbbbb"]
    assert score_lib.bootstrap(Score("smallest", units, smallest_category, stratified=True), seed=0) == (1, 1)
    assert score_lib.bootstrap(Score("smallest", units, smallest_category), seed=0)[0] == 0


def test_percent_weighs_units():
    units = [Unit((1.0,), {}), Unit((0.0,), {})]
    assert percent(np.array([[3.0, 1.0], [1.0, 1.0]]), units).tolist() == [75, 50]


def clustered(groups, right):
    return [Unit((float(r),), {score_lib.CLUSTER: g}) for g, r in zip(groups, right, strict=True)]


def test_units_of_a_cluster_are_drawn_together():
    units = clustered("aabbbc", [1] * 6)
    (weights,) = score_lib.bootstrap_weights(Score("x", units, percent), seed=0, resamples=50)
    assert (weights[:, 0] == weights[:, 1]).all()
    assert (weights[:, 2] == weights[:, 4]).all()
    assert (weights[:, [0, 2, 5]].sum(axis=1) == 3).all()
    assert len(np.unique(weights, axis=0)) > 5


def test_the_interval_of_clusters_is_that_of_their_number():
    """100 images with 4 equal questions each: as wide as 100 questions, twice as wide as 400."""
    right = [int(i < 50) for i in range(100) for _ in range(4)]
    units = clustered([str(i) for i in range(100) for _ in range(4)], right)
    half = 1.96 * 100 * np.sqrt(0.25 / 100)
    low, high = score_lib.bootstrap(Score("accuracy", units, percent), seed=0)
    assert (low, high) == (pytest.approx(50 - half, abs=1.2), pytest.approx(50 + half, abs=1.2))
    alone = [Unit(unit.values, {}) for unit in units]
    low, high = score_lib.bootstrap(Score("accuracy", alone, percent), seed=0)
    assert (low, high) == (pytest.approx(50 - half / 2, abs=1.2), pytest.approx(50 + half / 2, abs=1.2))


def test_clusters_of_one_unit_change_no_draw():
    alone = Score("x", [Unit((1.0,), {})] * 7, percent)
    single = Score("x", clustered("abcdefg", [1] * 7), percent)
    draws = [np.concatenate(list(score_lib.bootstrap_weights(s, seed=3, resamples=20))) for s in (alone, single)]
    np.testing.assert_array_equal(*draws)


def test_clusters_stay_in_their_stratum():
    units = [Unit((1.0,), {"category": c, score_lib.CLUSTER: k}) for c, k in ("xa", "xa", "xb", "ya", "yb")]
    (weights,) = score_lib.bootstrap_weights(Score("x", units, percent, stratified=True), seed=0, resamples=30)
    assert (weights[:, [0, 2]].sum(axis=1) == 2).all()
    assert (weights[:, 3:].sum(axis=1) == 2).all()
    assert (weights[:, 0] != weights[:, 3]).any()
