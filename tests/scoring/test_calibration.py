"""The calibration against closed forms; a sample's own rating never reaches its own prediction."""

from __future__ import annotations

import json

import numpy as np
import pyarrow as pa
import pytest
import scipy.optimize
from hypothesis import given
from hypothesis import strategies as st

from mmssr_jax.core import files, tables
from mmssr_jax.core.errors import UserError
from mmssr_jax.scoring.calibration import Calibration, Design, Predictors
from mmssr_jax.scoring.calibration_fit import (
    CalibrationConfig,
    cross_fit,
    fit,
    fold_calibrations,
    scale_knots,
    shared_weights,
)
from mmssr_jax.scoring.poisson_ridge import poisson_ridge, predicted

SLUGS = ("reading", "counting")
ONE = CalibrationConfig(folds=4, penalties=(0.1,))


def _predictors(count: int = 60, seed: int = 0) -> Predictors:
    rng = np.random.default_rng(seed)
    numbers = {name: rng.normal(size=count) for name in (*SLUGS, "nll")}
    return Predictors(numbers, [("web", "book", "rare")[n % 7 // 3] for n in range(count)])


def _ratings(predictors: Predictors, seed: int = 1) -> np.ndarray:
    """Ratings that fall with nll, and differ by source."""
    rng = np.random.default_rng(seed)
    value = predictors.numbers["reading"] - 0.8 * predictors.numbers["nll"] + 2.5
    shift = np.array([s == "book" for s in predictors.sources])
    noisy = np.stack([value + shift, value - shift], 1) + rng.normal(0, 0.3, (len(value), 2))
    return np.clip(np.rint(noisy), 0, 5)


def test_the_regression_is_the_smallest_penalised_loss():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(40, 3)), rng.integers(0, 6, (40, 2)).astype(float)
    weights, intercept = poisson_ridge(x, y, 2.5)

    def loss(w: np.ndarray, c: int) -> float:
        log_mean = x @ w[:3] + w[3]
        return float((np.exp(log_mean) - y[:, c] * log_mean).sum() + 2.5 * (w[:3] ** 2).sum() / 2)

    for c in range(2):
        found = scipy.optimize.minimize(loss, np.zeros(4), args=(c,), tol=1e-12).x
        np.testing.assert_allclose([*weights[:, c], intercept[c]], found, atol=1e-4)


def test_without_weights_it_predicts_the_mean():
    """Closed forms: a heavy penalty leaves the mean rating, and one indicator the means of the two groups."""
    group = np.repeat([0.0, 1.0], 20)[:, None]
    y = np.concatenate([np.full(20, 1.0), np.full(20, 4.0)])[:, None]
    np.testing.assert_allclose(predicted(group, *poisson_ridge(group, y, 1e9)), 2.5, rtol=1e-4)
    np.testing.assert_allclose(predicted(group, *poisson_ridge(group, y, 0.0)), y, rtol=1e-4)


def test_ratings_that_are_all_0_are_predicted_as_such():
    assert predicted(np.ones((12, 2)), *poisson_ridge(np.ones((12, 2)), np.zeros((12, 1)), 1.0)).max() < 0.01


def test_each_fold_is_predicted_by_a_fit_to_the_others():
    predictors = _predictors()
    ratings = _ratings(predictors)
    found = cross_fit(predictors, ratings, SLUGS, ONE)[0]
    fold = np.random.default_rng(ONE.seed).permutation(60) % 4
    values = np.stack([predictors.numbers[n] for n in (*SLUGS, "nll")], 1)
    groups = np.array([[s == g for g in ("book", "rare", "web")] for s in predictors.sources], float)

    for k in range(4):
        rest = fold != k
        low, high = np.quantile(values[rest], [0.01, 0.99], axis=0)
        clipped = np.clip(values, low, high)
        x = np.concatenate([(clipped - clipped[rest].mean(0)) / clipped[rest].std(0), groups], 1)
        shared = shared_weights(Design.fit(predictors.take(np.flatnonzero(rest))), x[rest], ratings[rest], SLUGS)
        weights, intercept = poisson_ridge(x[rest], ratings[rest], 0.1 * rest.sum(), centre=shared)
        np.testing.assert_allclose(found[~rest], np.exp(x[~rest] @ weights + intercept), atol=1e-9)
        gradient = x[rest].T @ (np.exp(x[rest] @ weights + intercept) - ratings[rest])
        np.testing.assert_allclose(gradient, -0.1 * rest.sum() * (weights - shared), atol=1e-6)


def test_the_shared_weights_are_one_fit_to_all_ratings():
    """Capabilities one below the other: own score, own rating from the text, nll; an intercept for each capability."""
    rng = np.random.default_rng(3)
    numbers = {
        name: rng.normal(size=50) * k for k, name in enumerate((*SLUGS, "reading_text", "counting_text", "nll"), 1)
    }
    predictors = Predictors(numbers, ["web", "book"] * 25)
    ratings = rng.integers(0, 6, (50, 2)).astype(float)
    design = Design.fit(predictors)
    found = shared_weights(design, design.matrix(predictors), ratings, SLUGS)
    clipped = {n: np.clip(v, *np.quantile(v, [0.01, 0.99])) for n, v in numbers.items()}
    centred = {n: v - v.mean() for n, v in clipped.items()}
    x = np.concatenate([np.stack([centred[slug], centred[f"{slug}_text"], centred["nll"]], 1) for slug in SLUGS])
    is_reading = np.repeat([1.0, 0.0], 50)[:, None]
    columns, y = np.concatenate([x, is_reading], 1), np.concatenate(ratings.T)

    def loss(w: np.ndarray) -> float:
        log_mean = columns @ w[:4] + w[4]
        return float((np.exp(log_mean) - y * log_mean).sum() + 0.1 * ((w[:3] * x.std(axis=0)) ** 2).sum() / 2)

    expected = scipy.optimize.minimize(loss, np.zeros(5), tol=1e-12).x
    for c, slug in enumerate(SLUGS):
        own = [design.names.index(n) for n in (slug, f"{slug}_text", "nll")]
        np.testing.assert_allclose(found[own, c] / design.scale[own], expected[:3], atol=1e-4)
        assert np.count_nonzero(found[:, c]) == 3


def test_a_flaw_seen_in_common_ratings_lowers_rare_ones():
    """The penalty draws the likelihood's effect on a capability to its effect on the sum of all ratings.

    Half of the samples are unlikely and rated a fifth. "rare" is rated above 0 in four samples, all of them likely:
    nothing but the sum of all ratings tells that an unlikely sample of "rare" deserves less.
    """
    rng = np.random.default_rng(0)
    unlikely, rare = np.arange(400) % 2 == 1, np.arange(400) % 100 == 0
    common = rng.integers(2, 6, 400) * ~rare
    numbers = {"common": np.log(common + 0.1), "rare": np.log(np.where(rare, 4, 0) + 0.1), "nll": unlikely * 3.0}
    ratings = np.stack([common * np.where(unlikely, 0.2, 1.0), np.where(rare, 4.0, 0.0)], 1)
    fitted, _ = fit(
        Predictors(numbers, ["web"] * 400), ratings, ("common", "rare"), CalibrationConfig(penalties=(0.1,))
    )
    asked = Predictors(
        {"common": np.log([0.1, 0.1]), "rare": np.log([4.1, 4.1]), "nll": np.array([0.0, 3.0])}, ["web", "web"]
    )
    likely, flawed = predicted(fitted.design.matrix(asked), fitted.weights, fitted.intercept)[:, 1]
    assert flawed < likely / 2.5


@pytest.mark.parametrize("row", [0, 17, 42, 59])
def test_a_samples_own_rating_does_not_reach_its_prediction(row: int):
    predictors = _predictors()
    ratings = _ratings(predictors)
    changed = ratings.copy()
    changed[row] = 5 - changed[row]
    before, after = (cross_fit(predictors, r, SLUGS, ONE)[0] for r in (ratings, changed))
    assert (before[row] == after[row]).all()
    assert (before != after).any()


def test_it_uses_what_the_scores_do_not_see():
    predictors, unseen = _predictors(300), _predictors(300, seed=5)
    fitted, held_out = fit(predictors, _ratings(predictors), SLUGS)
    truth = _ratings(unseen, seed=6)
    for c, slug in enumerate(SLUGS):
        alone = np.corrcoef(unseen.numbers[slug], truth[:, c])[0, 1]
        assert np.corrcoef(fitted.scores(unseen)[:, c], truth[:, c])[0, 1] > alone + 0.1
    assert held_out.shape == (300, 2)
    folds, fold = fold_calibrations(fitted, predictors, _ratings(predictors))
    for n in (0, 1, 150, 299):  # a judged sample's own score is that of the fit without its fold
        assert (folds[fold[n]].scores(predictors.take(np.array([n])))[0] == held_out[n]).all()
        assert (fitted.scores(predictors.take(np.array([n])))[0] != held_out[n]).any()
    assert fitted.scores(unseen).dtype == held_out.dtype == np.float32
    assert fitted.scores(unseen).min() >= 0
    assert fitted.scores(unseen).max() <= 5


def test_a_threshold_keeps_the_share_that_the_judge_rated_above_it():
    predictors = _predictors(400)
    ratings = _ratings(predictors)
    _, held_out = fit(predictors, ratings, SLUGS)
    for level in range(5):
        share = (ratings > level).mean(axis=0)
        np.testing.assert_allclose((held_out > level + 0.5).mean(axis=0), share, atol=0.006)


@given(
    st.lists(st.tuples(st.floats(-9, 9), st.integers(0, 5)), min_size=1, max_size=30),
    st.lists(st.floats(-20, 20), min_size=2, max_size=2),
)
def test_the_scale_is_monotone_and_within_the_ratings(rows, two):
    predictions, ratings = np.array([p for p, _ in rows]), np.array([r for _, r in rows], float)
    x, y = np.array(scale_knots(predictions, ratings)).T
    assert (np.diff(x) > 0).all()
    assert (np.diff(y) >= 0).all()
    low, high = np.interp(sorted(two), x, y)
    assert max(ratings.min() - 0.5, 0) <= low <= high <= min(ratings.max() + 0.5, 5)


def test_knots_of_a_small_table():
    predictions, ratings = np.arange(8.0), np.array([0, 0, 0, 0, 3, 3, 5, 5.0])
    knots = scale_knots(predictions, ratings)
    # levels 0, 1 and 2 all end at half of the ratings, 3 and 4 at three quarters
    assert knots == ((0.0, 0.0), (3.5, 1.5), (5.25, 4.0), (7.0, 5.0))


def test_json_there_and_back():
    predictors = _predictors()
    fitted, _ = fit(predictors, _ratings(predictors), SLUGS)
    again = Calibration.from_json(json.loads(files.dump_json(fitted.to_json())))
    assert (again.scores(predictors) == fitted.scores(predictors)).all()
    assert again.to_json() == fitted.to_json()


def test_unknown_numbers_and_sources_count_as_the_mean():
    predictors = _predictors()
    fitted, _ = fit(predictors, _ratings(predictors), SLUGS)
    mean = {n: np.full(2, v) for n, v in zip(fitted.design.names, fitted.design.mean, strict=True)}
    unknown = Predictors({**mean, "nll": np.full(2, np.nan)}, ["elsewhere", "web"])
    np.testing.assert_allclose(
        fitted.scores(unknown), fitted.scores(Predictors(mean, ["elsewhere", "web"])), atol=1e-6
    )  # fmt: skip
    with pytest.raises(UserError, match="needs nll, which the scores lack"):
        fitted.scores(Predictors({slug: np.zeros(1) for slug in SLUGS}, ["web"]))
    with pytest.raises(UserError, match="at least 10 judged samples, got 3"):
        fit(_predictors(3), np.zeros((3, 2)), SLUGS)


def test_predictors_of_a_score_table():
    table = pa.table(
        {
            "id": ["a", "b"], "source": ["s", "t"], "reading": pa.array([1.0, 2.0], pa.float32()),
            "styles": [["x"], []], "n_tokens": pa.array([10, 100], pa.int32()),
            "nll": pa.array([1.5, None], pa.float32()), "nll_blind": pa.array([2.0, None], pa.float32()),
            "reading_calibrated": pa.array([0.0, 5.0], pa.float32()),
        }
    )  # fmt: skip
    assert tables.capability_slugs(table) == ("reading",)
    found = Predictors.of(table)
    assert set(found.numbers) == {"reading", "nll", "log_nll", "nll_gain", "log_tokens"}
    assert found.numbers["reading"][1] == pytest.approx(np.log(2.1))
    assert found.numbers["nll_gain"][0] == -0.5
    assert np.isnan(found.numbers["nll_gain"][1])
    assert found.numbers["log_tokens"][1] == pytest.approx(np.log(100))
    assert found.sources == ["s", "t"]
    with_text = Predictors.of(table, np.array([[3.0], [-1.0]])).numbers["reading_text"]
    np.testing.assert_allclose(with_text, np.log([3.1, 0.1]))
    without = Predictors.of(table.drop_columns(["nll", "nll_blind", "n_tokens"]))
    assert set(without.numbers) == {"reading"}
