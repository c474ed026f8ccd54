"""Statistics of two ratings of the same rows, or of scores against an ordinal truth: ranks, kappa, concordance.

Numpy on one capability's rows, [n] each. What is not defined is NaN, never an error.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np


def mean(values: Iterable[float]) -> float:
    """The mean of the values that are defined; NaN where none is."""
    defined = [v for v in values if not np.isnan(v)]
    return float(np.mean(defined)) if defined else float("nan")


def average_ranks(values: np.ndarray) -> np.ndarray:
    """Ranks from 1, equal values sharing the mean of theirs; float64 [n]."""
    _, group, counts = np.unique(values, return_inverse=True, return_counts=True)
    return (np.cumsum(counts) - (counts - 1) / 2)[group]


def spearman(a: np.ndarray, b: np.ndarray) -> float:
    """Spearman's rank correlation of a and b, [n] each; ties by mean rank.

    NaN where one side is constant, or n < 2.
    """
    if len(a) < 2:
        return float("nan")
    x, y = average_ranks(a), average_ranks(b)
    x, y = x - x.mean(), y - y.mean()
    scale = float(np.sqrt(np.sum(x * x) * np.sum(y * y)))
    return float(np.sum(x * y)) / scale if scale else float("nan")


def spearman_ceiling(truth: np.ndarray) -> float:
    """The Spearman that a perfect score without ties reaches against a truth [n] with ties.

    Such a score's mean rank within a tied group of t rows is that group's rank, so the correlation is the ratio of
    the standard deviations of the two rankings: sqrt(1 - sum(t^3 - t) / (n^3 - n)).
    """
    n = float(len(truth))
    t = np.unique(truth, return_counts=True)[1].astype(np.float64)
    return float(np.sqrt(max(0.0, 1 - np.sum(t**3 - t) / (n**3 - n)))) if n > 1 else float("nan")


def quadratic_kappa(a: np.ndarray, b: np.ndarray) -> float:
    """Cohen's kappa with quadratic weights (Cohen 1968): 1 - mean (a_i - b_i)^2 / mean over all i, j (a_i - b_j)^2.

    Args:
      a, b: paired ratings [n], on one scale.

    Returns:
      At most 1; NaN where both are the same constant, or there is no row.
    """
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    by_chance = a.var() + b.var() + (a.mean() - b.mean()) ** 2 if len(a) else 0.0
    return float(1 - np.mean((a - b) ** 2) / by_chance) if by_chance > 0 else float("nan")
