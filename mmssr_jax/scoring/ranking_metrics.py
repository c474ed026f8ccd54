"""Statistics of scores against an ordinal truth: order of pairs, calibration, the top of the list.

Numpy on one capability's rows: scores [n] as floats, truth [n] as the rubric's 0-5. Undefined values are NaN.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from mmssr_jax.core.statistics import mean
from mmssr_jax.core.vocabulary import MAX_SCORE

GOOD = 3  # "a real part of the sample": what a selection for a capability is after
TOP_SHARE = 0.1

_LEVELS = MAX_SCORE + 1


def concordance(scores: np.ndarray, truth: np.ndarray, weights: np.ndarray | None = None) -> tuple[float, float]:
    """P(s_i > s_j | truth_i > truth_j); equal scores count one half (the AUC of an ordinal truth).

    O(n log n + levels * n): per truth level, its scores against the running count of all lower levels.

    Args:
      scores: [n].
      truth: [n].
      weights: [n], how often each row counts (bootstrap); once by default.

    Returns:
      The concordance, NaN where no two rows differ in truth, and the (weighted) number of pairs.
    """
    kept = ~(np.isnan(scores) | np.isnan(truth))
    return _concordance(_ranked(scores[kept], truth[kept]), np.ones(kept.sum()) if weights is None else weights[kept])


@dataclasses.dataclass(frozen=True)
class _Ranked:
    """Rows as cells of a table [truth levels, distinct scores], in rising order of both."""

    cell: np.ndarray
    shape: tuple[int, int]


def _ranked(scores: np.ndarray, truth: np.ndarray) -> _Ranked:
    levels, level = np.unique(truth, return_inverse=True)
    values, value = np.unique(scores, return_inverse=True)
    return _Ranked(level * len(values) + value, (len(levels), len(values)))


def _concordance(ranked: _Ranked, weights: np.ndarray) -> tuple[float, float]:
    table = np.bincount(ranked.cell, weights, minlength=ranked.shape[0] * ranked.shape[1]).reshape(ranked.shape)
    lower = np.cumsum(table, axis=0) - table  # rows of a lower truth, by score
    worse = np.cumsum(lower, axis=1) - lower / 2  # of those: scored lower, and half of those scored equal
    pairs = float(np.sum(table.sum(axis=1) * lower.sum(axis=1)))
    return (float(np.sum(table * worse)) / pairs if pairs else float("nan")), pairs


def macro_concordance(scores: np.ndarray, truth: np.ndarray) -> float:
    """The mean concordance of the capabilities that have at least one pair; NaN where none has."""
    return mean([concordance(scores[:, c], truth[:, c])[0] for c in range(truth.shape[1])])


def bootstrap_concordance(
    predictions: Sequence[np.ndarray], truth: np.ndarray, *, resamples: int = 200, seed: int = 0
) -> np.ndarray:
    """Macro concordances of several predictors on the same resampled rows, [resamples, predictors].

    Args:
      predictions: each [rows, capabilities].
      truth: [rows, capabilities].
      resamples: draws of `rows` rows with replacement.
      seed: of the draws.
    """
    rng = np.random.default_rng(seed)
    rows, capabilities = truth.shape
    draws = rng.multinomial(rows, np.full(rows, 1 / rows), size=resamples).astype(np.float64)
    out = np.full((resamples, len(predictions), capabilities), np.nan)
    for p, scores in enumerate(predictions):
        for c in range(capabilities):
            kept = ~(np.isnan(scores[:, c]) | np.isnan(truth[:, c]))
            ranked = _ranked(scores[kept, c], truth[kept, c])
            for b in range(resamples):
                out[b, p, c] = _concordance(ranked, draws[b, kept])[0]
    return np.array([[mean(out[b, p]) for p in range(len(predictions))] for b in range(resamples)])


def top_precision(
    scores: np.ndarray, truth: np.ndarray, *, share: float = TOP_SHARE, good: float = GOOD
) -> dict[str, float]:
    """How many of the best-scored rows are good, beside what an oracle would reach.

    Rows tied at the cut count in proportion, as if the tie fell at random.

    Returns:
      `k` rows taken, `precision`, the `oracle` precision, and their `ratio` (NaN where no row is good).
    """
    k = int(np.ceil(share * len(scores)))
    is_good = truth >= good
    cut = np.sort(scores)[-k]
    above, tied = scores > cut, scores == cut
    hits = is_good[above].sum() + (k - above.sum()) * is_good[tied].mean()
    oracle = min(int(is_good.sum()), k)
    return {"k": k, "precision": hits / k, "oracle": oracle / k, "ratio": hits / oracle if oracle else float("nan")}


def rounded(scores: np.ndarray) -> np.ndarray:
    """The nearest score of the rubric, halves up."""
    return np.clip(np.floor(scores + 0.5), 0, MAX_SCORE).astype(np.int64)


def confusion(scores: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Counts [6, 6]: rows the truth, columns the rounded score."""
    cell = rounded(truth) * _LEVELS + rounded(scores)
    return np.bincount(cell, minlength=_LEVELS**2).reshape(_LEVELS, _LEVELS)


def calibration(scores: np.ndarray, truth: np.ndarray) -> list[dict[str, float]]:
    """For each rounded score that occurs: how many rows, and what they were really worth on average."""
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
