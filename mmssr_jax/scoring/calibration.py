"""Calibration of a scorer: from all that one pass computes of a sample to the judge's rating of each capability.

    predictors     logarithms of the expected scores of all capabilities, and of ratings predicted from the text alone
                   (`ngram_ridge`), nll and its logarithm, nll - nll_blind, log tokens, source
    regression     of each capability's rating on them, fitted on the judged samples: a Poisson regression with a ridge
                   penalty, whose effects multiply, since a flaw takes a share of every rating. The penalty draws its
                   weights to those that all capabilities share (`calibration_fit.shared_weights`), which every rating
                   informs about: few samples have a rating above 0 of a given capability. The penalty's size is the
                   one with the smallest error on left-out folds
    scale          a monotone map, so that as many samples lie above k + 1/2 as the judge rated k + 1 or more: expected
                   scores and predictions shrink towards the mean, and a threshold would mean little

It is fitted by `calibration_fit.fit`. A judged sample's own calibrated score comes from the fold that was fitted
without it. Not in the paper (arXiv 2503.13383), whose scores are the expected scores alone.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from mmssr_jax.core import tables
from mmssr_jax.core.errors import UserError
from mmssr_jax.scoring.answer_likelihood import log_nll
from mmssr_jax.scoring.poisson_ridge import predicted

_WINSOR = 0.01  # share of the fitted values at each end that are clipped, and all values beyond them
_LOG_OFFSET = 0.1  # added to expected scores before their logarithm
TEXT = "_text"  # ends the name of a capability's rating from the text alone


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
            numbers["log_nll"] = log_nll(numbers["nll"])
        if "nll_blind" in numbers:  # how much the image helps: the two alone are almost one
            numbers["nll_gain"] = numbers["nll"] - numbers.pop("nll_blind")
        if "n_tokens" in table.schema.names:
            numbers["log_tokens"] = np.log(np.maximum(column("n_tokens"), 1))
        return cls(numbers, table["source"].to_pylist())

    def take(self, rows: np.ndarray) -> Predictors:
        """Those of some samples, int [m]."""
        return Predictors({n: v[rows] for n, v in self.numbers.items()}, [self.sources[r] for r in rows])


@dataclasses.dataclass(frozen=True)
class Design:
    """The columns of the linear model: numbers, clipped and standardised, then one indicator per source.

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
          KeyError, TypeError, ValueError: it is not a calibration.
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
