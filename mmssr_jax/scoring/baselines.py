"""Trivial score predictors without images: the baselines that a scorer must beat to be worth its cost.

All are fitted on m judged training samples and applied to n held-out ones; truth is [m, C], predictions are [n, C] for
C capabilities.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import scipy.sparse as sp

from mmssr_jax.scoring.ranking_metrics import macro_concordance

_HASH_STEP = np.uint64(0x9E3779B97F4A7C15)  # 2^64 / golden ratio (Knuth's multiplicative hashing)


def group_mean(train_groups: Sequence[str], train_truth: np.ndarray, groups: Sequence[str]) -> np.ndarray:
    """Predicts the mean truth of a sample's group, [n, C]; NaN for groups without training samples.

    Args:
      train_groups: [m].
      train_truth: [m, C].
      groups: [n], groups of the samples to predict.
    """
    names, code = np.unique(np.asarray(train_groups, object).astype(str), return_inverse=True)
    member = sp.csr_matrix((np.ones(len(code)), (code, np.arange(len(code)))), shape=(len(names), len(code)))
    rated = ~np.isnan(train_truth)
    with np.errstate(invalid="ignore"):
        means = (member @ np.where(rated, train_truth, 0.0)) / (member @ rated.astype(np.float64))
    index_of = {name: i for i, name in enumerate(names)}
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
        return [f"{a}\0{b}" for a, b in zip(s, t, strict=True)]

    predicted = group_mean(pairs(train_sources, train_styles), train_truth, pairs(sources, styles))
    return np.where(np.isnan(predicted), source_mean(train_sources, train_truth, sources), predicted)


@dataclasses.dataclass(frozen=True)
class RidgeConfig:
    """Ridge regression on hashed character n-grams.

    Attributes:
      orders: lengths of the n-grams, in characters of the lower-cased text.
      bits: n-grams are hashed into 2^bits columns.
      penalties: candidates for the ridge penalty; feature vectors have unit length.
      inner_share: share of the training samples on which the penalty is chosen, by macro concordance.
      seed: seed of the inner split.
    """

    orders: tuple[int, ...] = (1, 2, 3, 4, 5)
    bits: int = 16
    penalties: tuple[float, ...] = (10.0, 3.0, 1.0, 0.3, 0.1)
    inner_share: float = 0.25
    seed: int = 0


def ngram_counts(texts: Sequence[str], *, orders: Sequence[int], bits: int) -> sp.csr_matrix:
    """Counts of hashed character n-grams, float64 [texts, 2^bits]."""
    indptr, indices, counts = [0], [], []
    for text in texts:
        characters = np.frombuffer(" ".join(text.lower().split()).encode("utf-32-le", "surrogatepass"), np.uint32)
        hashed = np.concatenate([_rolling_hash(characters, n) for n in orders]) >> np.uint64(64 - bits)
        columns, times = np.unique(hashed.astype(np.int64), return_counts=True)
        indices.append(columns)
        counts.append(times.astype(np.float64))
        indptr.append(indptr[-1] + len(columns))
    data = np.concatenate(counts) if counts else np.zeros(0)
    columns = np.concatenate(indices) if indices else np.zeros(0, np.int64)
    return sp.csr_matrix((data, columns, np.array(indptr)), shape=(len(texts), 1 << bits))


def _rolling_hash(characters: np.ndarray, n: int) -> np.ndarray:
    """A 64-bit hash of each n-gram; its high bits are the mixed ones."""
    windows = max(len(characters) - n + 1, 0)
    value = np.full(windows, n, np.uint64)
    for i in range(n):
        value = (value ^ characters[i : i + windows].astype(np.uint64)) * _HASH_STEP
        value ^= value >> np.uint64(32)
    return value * _HASH_STEP


def ngram_ridge(
    train_texts: Sequence[str], train_truth: np.ndarray, texts: Sequence[str], config: RidgeConfig | None = None
) -> np.ndarray:
    """Predictions [n, C] of ridge regression on tf-idf weighted log counts of character n-grams.

    Args:
      train_texts: [m], the conversations.
      train_truth: [m, C]; a missing rating counts as its capability's mean.
      texts: [n], the conversations to predict.
      config: `RidgeConfig()` by default.

    Raises:
      ValueError: fewer than two training samples.
    """
    config = config or RidgeConfig()
    rows = len(train_texts)
    if rows < 2:
        raise ValueError(f"a ridge needs at least 2 training rows, got {rows}")
    train = ngram_counts(train_texts, orders=config.orders, bits=config.bits)
    test = ngram_counts(texts, orders=config.orders, bits=config.bits)
    order = np.random.default_rng(config.seed).permutation(rows)
    inner, fit = np.split(order, [max(1, round(rows * config.inner_share))])
    best = config.penalties[0]
    if len(config.penalties) > 1 and len(fit):
        path = _ridge_path(train[fit], train_truth[fit], train[inner], config.penalties)
        concordances = [macro_concordance(p, train_truth[inner]) for p in path]
        best = config.penalties[int(np.argmax(np.nan_to_num(concordances)))]
    return _ridge_path(train, train_truth, test, (best,))[0]


def _ridge_path(
    counts: sp.csr_matrix, truth: np.ndarray, test_counts: sp.csr_matrix, penalties: Sequence[float]
) -> list[np.ndarray]:
    """Predictions for `test_counts` under each penalty; each fit is warm-started from the previous weights."""
    rows = counts.shape[0]
    idf = np.log((1 + rows) / (1 + np.bincount(counts.indices, minlength=counts.shape[1]))) + 1
    x, x_test = _tf_idf(counts, idf), _tf_idf(test_counts, idf)
    mean = np.nanmean(truth, axis=0)
    y = np.nan_to_num(truth - mean)
    x_mean = np.asarray(x.mean(axis=0)).ravel()
    weights = np.zeros((x.shape[1], truth.shape[1]))
    predictions = []
    for penalty in penalties:
        weights = _solve(x, x_mean, y, penalty, weights)
        predictions.append(mean + x_test @ weights - x_mean @ weights)
    return predictions


def _tf_idf(counts: sp.csr_matrix, idf: np.ndarray) -> sp.csr_matrix:
    """tf-idf rows of unit length."""
    x = counts.copy()
    x.data = np.log1p(x.data) * idf[x.indices]
    length = np.sqrt(np.asarray(x.multiply(x).sum(axis=1)).ravel())
    return sp.csr_matrix(sp.diags(1 / np.where(length == 0, 1, length)) @ x)


def _solve(
    x: sp.csr_matrix,
    x_mean: np.ndarray,
    y: np.ndarray,
    penalty: float,
    start: np.ndarray,
    *,
    tolerance: float = 1e-4,
    steps: int = 300,
) -> np.ndarray:
    """(Xc' Xc + penalty I)^-1 Xc' y for Xc = X - x_mean, by conjugate gradients on all columns of y at once."""
    xt = sp.csr_matrix(x.T)

    def normal(w: np.ndarray) -> np.ndarray:
        return transposed(x @ w - x_mean @ w) + penalty * w

    def transposed(r: np.ndarray) -> np.ndarray:
        return xt @ r - np.outer(x_mean, r.sum(axis=0))

    target = transposed(y)
    weights = start
    residual = target - normal(weights)
    direction = residual
    norm2 = np.sum(residual**2, axis=0)
    threshold = tolerance**2 * np.sum(target**2, axis=0)
    for _ in range(steps):
        if np.all(norm2 <= threshold):
            break
        product = normal(direction)
        curvature = np.sum(direction * product, axis=0)
        step = np.divide(norm2, curvature, out=np.zeros_like(norm2), where=curvature > 0)
        weights = weights + step * direction
        residual = residual - step * product
        previous, norm2 = norm2, np.sum(residual**2, axis=0)
        direction = residual + np.divide(norm2, previous, out=np.zeros_like(norm2), where=previous > 0) * direction
    return weights
