"""Trivial score predictors from sources and styles: baselines that a scorer must beat to be worth its cost.

All are fitted on m judged training samples and applied to n held-out ones; truth is [m, C], predictions are [n, C] for
C capabilities.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import scipy.sparse as sp


def group_mean(train_groups: Sequence[str], train_truth: np.ndarray, groups: Sequence[str]) -> np.ndarray:
    """Predicts the mean truth of a sample's group, [n, C]; NaN for groups without training samples.

    Args:
      train_groups: [m].
      train_truth: [m, C].
      groups: [n], groups of the samples to predict.
    """
    index_of = {name: i for i, name in enumerate(sorted(set(train_groups)))}
    code = np.array([index_of[name] for name in train_groups], np.int64)
    member = sp.csr_matrix((np.ones(len(code)), (code, np.arange(len(code)))), shape=(len(index_of), len(code)))
    rated = ~np.isnan(train_truth)
    with np.errstate(invalid="ignore"):
        means = (member @ np.where(rated, train_truth, 0.0)) / (member @ rated.astype(np.float64))
    predicted = np.full((len(groups), train_truth.shape[1]), np.nan)
    for row, group in enumerate(groups):
        if group in index_of:
            predicted[row] = means[index_of[group]]
    return predicted


def source_mean(train_sources: Sequence[str], train_truth: np.ndarray, sources: Sequence[str]) -> np.ndarray:
    """Predicts the mean truth of a sample's source, [n, C]; the overall mean for sources without training samples.

    Args:
      train_sources: [m].
      train_truth: [m, C].
      sources: [n].
    """
    predicted = group_mean(train_sources, train_truth, sources)
    return np.where(np.isnan(predicted), np.nanmean(train_truth, axis=0), predicted)


def source_style_mean(
    train_sources: Sequence[str],
    train_styles: Sequence[str],
    train_truth: np.ndarray,
    sources: Sequence[str],
    styles: Sequence[str],
) -> np.ndarray:
    """Predicts the mean truth of a sample's source and main style, [n, C]; falls back to `source_mean`.

    `styles` are the true main styles, which a scorer has to infer: the comparison favours this baseline.

    Args:
      train_sources, train_styles: [m].
      train_truth: [m, C].
      sources, styles: [n].
    """

    def pairs(s: Sequence[str], t: Sequence[str]) -> list[str]:
        return [f"{a}\n{b}" for a, b in zip(s, t, strict=True)]

    predicted = group_mean(pairs(train_sources, train_styles), train_truth, pairs(sources, styles))
    return np.where(np.isnan(predicted), source_mean(train_sources, train_truth, sources), predicted)
