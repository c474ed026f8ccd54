"""Calibration of a scorer: from all that one pass computes of a sample to the judge's rating of each capability.

    predictors     logarithms of the expected scores of all capabilities, and of ratings predicted from the text alone
                   (`ngram_ridge`), nll and its logarithm, nll - nll_blind, log tokens, source
    regression     of each capability's rating on them, fitted on the judged samples: a Poisson regression with a ridge
                   penalty, whose effects multiply, since a flaw takes a share of every rating. The penalty draws its
                   weights to those that all capabilities share (`shared_weights`), which every rating informs about:
                   few samples have a rating above 0 of a given capability. The penalty's size is the one with the
                   smallest error on left-out folds
    scale          a monotone map, so that as many samples lie above k + 1/2 as the judge rated k + 1 or more: expected
                   scores and predictions shrink towards the mean, and a threshold would mean little

A judged sample's own calibrated score comes from the fold that was fitted without it. Not in the paper (arXiv
2503.13383), whose scores are the expected scores alone.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from mmssr_jax.core import tables
from mmssr_jax.core.errors import UserError
from mmssr_jax.core.vocabulary import MAX_SCORE
from mmssr_jax.scoring.poisson_ridge import poisson_ridge, predicted

_WINSOR = 0.01  # share of the fitted values at each end that are clipped, and all values beyond them
_MIN_SAMPLES = 10
_LOG_OFFSET = 0.1  # added to expected scores before their logarithm
_NLL_OFFSET = 0.01  # the same for nll
TEXT = "_text"  # ends the name of a capability's rating from the text alone
_SHARED_PENALTY = 1e-3  # of the shared weights, relative to the number of ratings


@dataclasses.dataclass(frozen=True)
class Predictors:
    """What a calibration reads of n samples.

    Attributes:
      numbers: name -> float64 [n]; NaN = unknown, counts as the mean.
      sources: [n].
    """

    numbers: Mapping[str, np.ndarray]
    sources: Sequence[str]

    @classmethod
    def of(cls, table: pa.Table, text_ratings: np.ndarray | None = None) -> Predictors:
        """From rows of a score table.

        Args:
          table: n rows.
          text_ratings: [n, C], ratings of the table's capabilities predicted from the text alone.
        """

        def column(name: str) -> np.ndarray:
            return tables.matrix(table, [name])[:, 0].astype(np.float64)

        slugs = tables.capability_slugs(table)
        scores = {n: column(n) for n in slugs}
        if text_ratings is not None:
            scores |= {n + TEXT: values for n, values in zip(slugs, text_ratings.T, strict=True)}
        numbers = {n: np.log(np.maximum(values, 0) + _LOG_OFFSET) for n, values in scores.items()}
        numbers |= {n: column(n) for n in ("nll", "nll_blind") if n in table.schema.names}
        if "nll" in numbers:
            numbers["log_nll"] = np.log(np.maximum(numbers["nll"], 0) + _NLL_OFFSET)
        if "nll_blind" in numbers:  # how much the image helps: the two alone are almost one
            numbers["nll_gain"] = numbers["nll"] - numbers.pop("nll_blind")
        if "n_tokens" in table.schema.names:
            numbers["log_tokens"] = np.log(np.maximum(column("n_tokens"), 1))
        return cls(numbers, table["source"].to_pylist())

    def take(self, rows: np.ndarray) -> Predictors:
        """Those of some samples, int [m]."""
        return Predictors({n: v[rows] for n, v in self.numbers.items()}, [self.sources[r] for r in rows])


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


@dataclasses.dataclass(frozen=True)
class Design:
    """The columns of the linear model: numbers, clipped and standardised, then one indicator a source.

    Attributes:
      names: [F], the numbers.
      low, high, mean, scale: [F], of the samples that it was fitted on.
      sources: [S], those of the samples that it was fitted on; any other has no indicator.
    """

    names: tuple[str, ...]
    low: np.ndarray
    high: np.ndarray
    mean: np.ndarray
    scale: np.ndarray
    sources: tuple[str, ...]

    @classmethod
    def fit(cls, predictors: Predictors) -> Design:
        """From the samples to fit on."""
        names = tuple(predictors.numbers)
        values = np.stack([predictors.numbers[n] for n in names], 1)
        values[:, np.isnan(values).all(axis=0)] = 0.0
        low, high = np.nanquantile(values, [_WINSOR, 1 - _WINSOR], axis=0)
        clipped = np.clip(values, low, high)
        std = np.nanstd(clipped, axis=0)
        scale = np.where(std > 0, std, 1.0)
        return cls(names, low, high, np.nanmean(clipped, axis=0), scale, tuple(sorted(set(predictors.sources))))

    def matrix(self, predictors: Predictors) -> np.ndarray:
        """float64 [n, F + S].

        Raises:
          UserError: a number is missing.
        """
        missing = [n for n in self.names if n not in predictors.numbers]
        if missing:
            raise UserError(f"the calibration needs {', '.join(missing)}, which the scores lack; score with the same")
        values = np.stack([predictors.numbers[n] for n in self.names], 1)
        numbers = np.nan_to_num((np.clip(values, self.low, self.high) - self.mean) / self.scale)
        indicators = np.array([[s == name for name in self.sources] for s in predictors.sources], np.float64)
        return np.concatenate([numbers, indicators.reshape(len(numbers), len(self.sources))], axis=1)


@dataclasses.dataclass(frozen=True)
class Calibration:
    """A fitted calibration of C capabilities.

    Attributes:
      capabilities: [C], slugs.
      design: the columns.
      weights, intercept: [F + S, C] and [C], of the regression: the logarithm of its prediction is linear.
      knots: for each capability the points (prediction, score) between which the scale is linear.
      penalty: the ridge penalty, relative to the number of samples.
      samples: number of judged samples that it was fitted on.
    """

    capabilities: tuple[str, ...]
    design: Design
    weights: np.ndarray
    intercept: np.ndarray
    knots: tuple[tuple[tuple[float, float], ...], ...]
    penalty: float
    samples: int

    @property
    def reads_text(self) -> bool:
        """Whether it needs the ratings predicted from the text."""
        return any(name.endswith(TEXT) for name in self.design.names)

    def scores(self, predictors: Predictors) -> np.ndarray:
        """Calibrated scores, float32 [n, C]; raises as `Design.matrix`."""
        return self.to_scale(predicted(self.design.matrix(predictors), self.weights, self.intercept))

    def to_scale(self, predictions: np.ndarray) -> np.ndarray:
        """The scale, applied to predictions [n, C] of the regression: float32 [n, C]."""
        knots = [np.array(points) for points in self.knots]
        columns = [np.interp(predictions[:, c], points[:, 0], points[:, 1]) for c, points in enumerate(knots)]
        return np.stack(columns, 1).astype(np.float32)

    def to_json(self) -> dict[str, Any]:
        """As plain values."""
        plain = dataclasses.asdict(self)
        arrays = {k: v.tolist() for k, v in plain["design"].items() if isinstance(v, np.ndarray)}
        weights = {"weights": self.weights.tolist(), "intercept": self.intercept.tolist()}
        return {**plain, **weights, "design": {**plain["design"], **arrays}}

    @classmethod
    def from_json(cls, plain: Mapping[str, Any]) -> Calibration:
        """The inverse of `to_json`.

        Raises:
          KeyError, TypeError, ValueError: it is none.
        """
        fields = dict(plain["design"])
        arrays = {k: np.array(fields.pop(k), np.float64) for k in ("low", "high", "mean", "scale")}
        design = Design(tuple(fields.pop("names")), **arrays, sources=tuple(fields.pop("sources")))
        knots = tuple(tuple((float(x), float(y)) for x, y in points) for points in plain["knots"])
        weights, intercept = (np.array(plain[k], np.float64) for k in ("weights", "intercept"))
        capabilities = tuple(plain["capabilities"])
        if weights.shape != (len(design.names) + len(design.sources), len(capabilities)):
            raise ValueError(f"its weights are {weights.shape}")
        return cls(capabilities, design, weights, intercept, knots, plain["penalty"], plain["samples"])


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
    if count < max(_MIN_SAMPLES, config.folds):
        raise UserError(f"a calibration needs at least {max(_MIN_SAMPLES, config.folds)} judged samples, got {count}")
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
    fold = np.random.default_rng(config.seed).permutation(len(ratings)) % config.folds
    held_out = np.zeros((len(config.penalties), *ratings.shape))
    for k in range(config.folds):
        rest, left = np.flatnonzero(fold != k), np.flatnonzero(fold == k)
        design = Design.fit(predictors.take(rest))
        x, x_left = design.matrix(predictors.take(rest)), design.matrix(predictors.take(left))
        for p, penalty in enumerate(config.penalties):
            held_out[p, left] = predicted(x_left, *regression(design, x, ratings[rest], slugs, penalty * len(rest)))
    return held_out


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
