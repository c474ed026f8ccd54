"""Ranking metrics of scores against an ordinal truth: concordance, precision at the top, calibration.

Plain numpy on n samples: scores [n] are floats, truth [n] is the rubric's 0-5. Undefined values are NaN.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from mmssr_jax.core.statistics import mean
from mmssr_jax.core.vocabulary import MAX_SCORE

GOOD = 3  # "a real part of the sample" in the rubric: what a selection for a capability looks for
TOP_SHARE = 0.1

_LEVELS = MAX_SCORE + 1


def concordance(scores: np.ndarray, truth: np.ndarray, weights: np.ndarray | None = None) -> tuple[float, float]:
    """P(s_i > s_j | truth_i > truth_j), where equal scores count 1/2: the AUC for an ordinal truth.

    O(n log n + levels * n): the scores of each truth level against the cumulative counts of all lower levels.

    Args:
      scores: [n].
      truth: [n].
      weights: [n], multiplicity of each sample (bootstrap); 1 by default.

    Returns:
      The concordance, NaN if no two samples differ in truth, and the (weighted) number of pairs.
    """
    kept = ~(np.isnan(scores) | np.isnan(truth))
    return _concordance(_ranked(scores[kept], truth[kept]), np.ones(kept.sum()) if weights is None else weights[kept])


@dataclasses.dataclass(frozen=True)
class _Ranked:
    """Samples as cells of a table [truth levels, distinct scores], both ascending; `cell` is int [n]."""

    cell: np.ndarray
    shape: tuple[int, int]


def _ranked(scores: np.ndarray, truth: np.ndarray) -> _Ranked:
    levels, level = np.unique(truth, return_inverse=True)
    values, value = np.unique(scores, return_inverse=True)
    return _Ranked(level * len(values) + value, (len(levels), len(values)))


def _concordance(ranked: _Ranked, weights: np.ndarray) -> tuple[float, float]:
    table = np.bincount(ranked.cell, weights, minlength=ranked.shape[0] * ranked.shape[1]).reshape(ranked.shape)
    lower = np.cumsum(table, axis=0) - table  # samples of lower truth, by score
    worse = np.cumsum(lower, axis=1) - lower / 2  # of these: those with a lower score, plus half of the ties
    pairs = float(np.sum(table.sum(axis=1) * lower.sum(axis=1)))
    return (float(np.sum(table * worse)) / pairs if pairs else float("nan")), pairs


def macro_concordance(scores: np.ndarray, truth: np.ndarray) -> float:
    """Mean concordance over the capabilities with at least one pair; NaN if there is none.

    Args:
      scores: [n, C].
      truth: [n, C].
    """
    return mean([concordance(scores[:, c], truth[:, c])[0] for c in range(truth.shape[1])])


def bootstrap_concordance(
    predictions: Sequence[np.ndarray], truth: np.ndarray, *, resamples: int = 200, seed: int = 0
) -> np.ndarray:
    """Macro concordances of several predictors on the same bootstrap resamples, [resamples, predictors].

    Args:
      predictions: each [n, C].
      truth: [n, C].
      resamples: number of resamples of n samples with replacement.
      seed: seed of the resamples.
    """
    rng = np.random.default_rng(seed)
    n, capabilities = truth.shape
    weights = rng.multinomial(n, np.full(n, 1 / n), size=resamples).astype(np.float64)
    values = np.full((resamples, len(predictions), capabilities), np.nan)
    for p, scores in enumerate(predictions):
        for c in range(capabilities):
            kept = ~(np.isnan(scores[:, c]) | np.isnan(truth[:, c]))
            ranked = _ranked(scores[kept, c], truth[kept, c])
            for b in range(resamples):
                values[b, p, c] = _concordance(ranked, weights[b, kept])[0]
    return np.array([[mean(values[b, p]) for p in range(len(predictions))] for b in range(resamples)])


def top_precision(
    scores: np.ndarray, truth: np.ndarray, *, share: float = TOP_SHARE, good: float = GOOD
) -> dict[str, float]:
    """Precision of the top-scored samples, compared with an oracle's.

    Samples tied at the cut count in proportion (the expectation over random tie-breaking).

    Args:
      scores: [n].
      truth: [n].
      share: share of the samples that is taken.
      good: smallest truth that counts as a hit.

    Returns:
      `k` samples taken, `precision`, the `oracle` precision, and their `ratio` (NaN if no sample is good).
    """
    k = int(np.ceil(share * len(scores)))
    is_good = truth >= good
    cut = np.sort(scores)[-k]
    above, tied = scores > cut, scores == cut
    hits = is_good[above].sum() + (k - above.sum()) * is_good[tied].mean()
    oracle = min(int(is_good.sum()), k)
    return {"k": k, "precision": hits / k, "oracle": oracle / k, "ratio": hits / oracle if oracle else float("nan")}


def rounded(scores: np.ndarray) -> np.ndarray:
    """The nearest integer score 0-5 of scores [n], halves rounded up; int64 [n]."""
    return np.clip(np.floor(scores + 0.5), 0, MAX_SCORE).astype(np.int64)


def confusion(scores: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Confusion matrix [6, 6] of scores [n] and truth [n]: rows are the truth, columns the rounded score."""
    cell = rounded(truth) * _LEVELS + rounded(scores)
    return np.bincount(cell, minlength=_LEVELS**2).reshape(_LEVELS, _LEVELS)


def calibration(scores: np.ndarray, truth: np.ndarray) -> list[dict[str, float]]:
    """For each rounded score that occurs among scores [n]: the count, the mean score and the mean truth [n]."""
    bins = rounded(scores)
    return [
        {
            "score": int(b),
            "n": int((bins == b).sum()),
            "mean_score": float(scores[bins == b].mean()),
            "mean_truth": float(truth[bins == b].mean()),
        }
        for b in np.unique(bins)
    ]
