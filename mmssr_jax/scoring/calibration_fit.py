"""Fits a calibration (`scoring.calibration`) to the judge's ratings."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from mmssr_jax.core.errors import UserError
from mmssr_jax.core.vocabulary import MAX_SCORE
from mmssr_jax.scoring.calibration import TEXT, Calibration, Design, Predictors
from mmssr_jax.scoring.poisson_ridge import poisson_ridge, predicted

MIN_SAMPLES = 10
_SHARED_PENALTY = 1e-3  # of the shared weights, relative to the number of ratings


@dataclasses.dataclass(frozen=True)
class CalibrationConfig:
    """How a calibration is fitted.

    Attributes:
      folds: parts of the judged samples, each predicted by a fit on the others.
      penalties: candidates for the ridge penalty, relative to the number of samples.
      seed: of the folds.
    """

    folds: int = 5
    penalties: tuple[float, ...] = (1e-3, 1e-2, 1e-1, 1.0, 10.0)
    seed: int = 0


def fit(
    predictors: Predictors, ratings: np.ndarray, slugs: Sequence[str], config: CalibrationConfig | None = None
) -> tuple[Calibration, np.ndarray]:
    """Fits a calibration.

    Args:
      predictors: of m judged samples, in an order that depends on nothing but the samples.
      ratings: [m, C], the judge's.
      slugs: [C].
      config: `CalibrationConfig()` by default.

    Returns:
      The calibration, and the calibrated scores of the m samples, float32 [m, C], each from the folds without it.

    Raises:
      UserError: there are too few samples.
    """
    config = config or CalibrationConfig()
    count = len(ratings)
    if count < max(MIN_SAMPLES, config.folds):
        raise UserError(f"a calibration needs at least {max(MIN_SAMPLES, config.folds)} judged samples, got {count}")
    ratings = ratings.astype(np.float64)
    held_out = cross_fit(predictors, ratings, slugs, config)
    best = int(np.argmin(np.square(held_out - ratings).mean(axis=(1, 2))))
    design, penalty = Design.fit(predictors), config.penalties[best]
    weights, intercept = regression(design, design.matrix(predictors), ratings, slugs, penalty * count)
    knots = tuple(scale_knots(held_out[best][:, c], ratings[:, c]) for c in range(ratings.shape[1]))
    fitted = Calibration(tuple(slugs), design, weights, intercept, knots, penalty, count)
    return fitted, fitted.to_scale(held_out[best])


def cross_fit(
    predictors: Predictors, ratings: np.ndarray, slugs: Sequence[str], config: CalibrationConfig
) -> np.ndarray:
    """The regression's predictions for each judged sample, fitted without its fold: float64 [penalties, m, C].

    Args:
      predictors: of m samples.
      ratings: float64 [m, C].
      slugs: [C].
      config: the folds and penalties.
    """
    fold = folds(len(ratings), config)
    held_out = np.zeros((len(config.penalties), *ratings.shape))
    for k in range(config.folds):
        rest, left = np.flatnonzero(fold != k), np.flatnonzero(fold == k)
        design = Design.fit(predictors.take(rest))
        x, x_left = design.matrix(predictors.take(rest)), design.matrix(predictors.take(left))
        for p, penalty in enumerate(config.penalties):
            held_out[p, left] = predicted(x_left, *regression(design, x, ratings[rest], slugs, penalty * len(rest)))
    return held_out


def folds(count: int, config: CalibrationConfig) -> np.ndarray:
    """The fold of each judged sample, int [m]."""
    return np.random.default_rng(config.seed).permutation(count) % config.folds


def fold_calibrations(
    fitted: Calibration, predictors: Predictors, ratings: np.ndarray, config: CalibrationConfig | None = None
) -> tuple[tuple[Calibration, ...], np.ndarray]:
    """The fits that gave the judged samples' own scores.

    Args:
      fitted: what `fit` returned for the same arguments.
      predictors: of m judged samples.
      ratings: [m, C].
      config: `CalibrationConfig()` by default.

    Returns:
      For each fold the calibration that was fitted without it, with the scale of `fitted`; and the fold of each sample.
    """
    config = config or CalibrationConfig()
    fold = folds(len(ratings), config)
    found = []
    for k in range(config.folds):
        rest = np.flatnonzero(fold != k)
        others, rated = predictors.take(rest), ratings[rest].astype(np.float64)
        design = Design.fit(others)
        weights, intercept = regression(
            design, design.matrix(others), rated, fitted.capabilities, fitted.penalty * len(rest)
        )
        found.append(
            dataclasses.replace(fitted, design=design, weights=weights, intercept=intercept, samples=len(rest))
        )
    return tuple(found), fold


def regression(
    design: Design, x: np.ndarray, ratings: np.ndarray, slugs: Sequence[str], penalty: float
) -> tuple[np.ndarray, np.ndarray]:
    """Weights [F + S, C] and intercept [C] from `x` = `design.matrix`, [m, F + S], to ratings [m, C]."""
    return poisson_ridge(x, ratings, penalty, centre=shared_weights(design, x, ratings, slugs))


def shared_weights(design: Design, x: np.ndarray, ratings: np.ndarray, slugs: Sequence[str]) -> np.ndarray:
    """One weight for each kind of predictor, fitted to all capabilities' ratings at once, [F + S, C].

    The kinds are a capability's own score, its own rating from the text, and each number that belongs to no
    capability. The weights of other capabilities' numbers and of sources are 0.

    Args:
      design: the columns.
      x: [m, F + S], `design.matrix`.
      ratings: [m, C].
      slugs: [C].
    """
    column = {name: n for n, name in enumerate(design.names)}
    of_no_capability = [n for name, n in column.items() if name.removesuffix(TEXT) not in slugs]
    kinds = [[*(column[n] for n in (slug, slug + TEXT) if n in column), *of_no_capability] for slug in slugs]
    values = x[:, : len(design.names)] * design.scale
    stacked = np.concatenate([values[:, columns] for columns in kinds])  # capability by capability, [C m, kinds]
    spread = np.maximum(stacked.std(axis=0), 1e-9)
    is_of = np.repeat(np.eye(len(slugs)), len(x), axis=0)
    penalty = np.append(np.full(len(spread), _SHARED_PENALTY * len(stacked)), np.zeros(len(slugs)))
    found, _ = poisson_ridge(np.concatenate([stacked / spread, is_of], 1), ratings.T.reshape(-1, 1), penalty)
    weights = np.zeros((x.shape[1], len(slugs)))
    for c, columns in enumerate(kinds):
        weights[columns, c] = found[: len(spread), 0] / spread * design.scale[columns]
    return weights


def scale_knots(predictions: np.ndarray, ratings: np.ndarray) -> tuple[tuple[float, float], ...]:
    """The points of a monotone map from predictions [m] to the scale of the ratings [m].

    The prediction that a share F of the predictions does not exceed is mapped to k + 1/2, where F is the share of the
    ratings up to k; the ends are mapped to half a point beyond the lowest and highest rating, within 0..5.
    """
    points = [(predictions.min(), max(ratings.min() - 0.5, 0.0))]
    for level in range(int(ratings.min()), int(ratings.max())):
        points.append((np.quantile(predictions, (ratings <= level).mean()), level + 0.5))
    points.append((predictions.max(), min(ratings.max() + 0.5, float(MAX_SCORE))))
    values = sorted({x for x, _ in points})
    return tuple((float(v), float(np.mean([y for x, y in points if x == v]))) for v in values)
