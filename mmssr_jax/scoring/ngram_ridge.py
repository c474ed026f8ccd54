"""Ridge regression from the text of conversations to ratings: a predictor that sees no image.

It is the baseline that a scorer must beat, and gives a calibration what a sample's words say about its relevance.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import scipy.sparse as sp

from mmssr_jax.scoring.ranking_metrics import macro_concordance

_HASH_STEP = np.uint64(0x9E3779B97F4A7C15)  # 2^64 / golden ratio (Knuth's multiplicative hashing)


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


@dataclasses.dataclass(frozen=True)
class NgramRidge:
    """A fitted regression on tf-idf weighted log counts of character n-grams.

    Attributes:
      idf: float64 [2^bits], inverse document frequencies.
      weights: float64 [2^bits, C].
      offset: [C], the prediction for a text without weights.
      orders: see `RidgeConfig`.
    """

    idf: np.ndarray
    weights: np.ndarray
    offset: np.ndarray
    orders: tuple[int, ...]

    def predict(self, texts: Sequence[str]) -> np.ndarray:
        """Predicted ratings of conversations, float64 [n, C]."""
        counts = ngram_counts(texts, orders=self.orders, bits=len(self.idf).bit_length() - 1)
        return self.offset + _tf_idf(counts, self.idf) @ self.weights


def fit_ngram_ridge(texts: Sequence[str], truth: np.ndarray, config: RidgeConfig | None = None) -> NgramRidge:
    """Fits the regression; its penalty is chosen on a part of the samples.

    Args:
      texts: [m], the conversations.
      truth: [m, C]; a missing rating counts as its capability's mean.
      config: `RidgeConfig()` by default.

    Raises:
      ValueError: fewer than two samples.
    """
    config = config or RidgeConfig()
    return fit_to_counts(ngram_counts(texts, orders=config.orders, bits=config.bits), truth, config)


def fit_to_counts(counts: sp.csr_matrix, truth: np.ndarray, config: RidgeConfig) -> NgramRidge:
    """`fit_ngram_ridge` on the `ngram_counts` [m, 2^bits] of m texts, for several fits to parts of them."""
    rows = counts.shape[0]
    if rows < 2:
        raise ValueError(f"a ridge needs at least 2 training rows, got {rows}")
    order = np.random.default_rng(config.seed).permutation(rows)
    inner, fit = np.split(order, [max(1, round(rows * config.inner_share))])
    best = config.penalties[0]
    if len(config.penalties) > 1 and len(fit):
        path = _ridge_path(counts[fit], truth[fit], config.penalties, config.orders)
        x = _tf_idf(counts[inner], path[0].idf)
        concordances = [macro_concordance(r.offset + x @ r.weights, truth[inner]) for r in path]
        best = config.penalties[int(np.argmax(np.nan_to_num(concordances)))]
    return _ridge_path(counts, truth, (best,), config.orders)[0]


def ngram_ridge(
    train_texts: Sequence[str], train_truth: np.ndarray, texts: Sequence[str], config: RidgeConfig | None = None
) -> np.ndarray:
    """Predictions [n, C] for `texts` [n] of a ridge fitted on others; see `fit_ngram_ridge`."""
    return fit_ngram_ridge(train_texts, train_truth, config).predict(texts)


def _ridge_path(
    counts: sp.csr_matrix, truth: np.ndarray, penalties: Sequence[float], orders: tuple[int, ...]
) -> list[NgramRidge]:
    """The regression under each penalty; each fit is warm-started from the previous weights."""
    rows, columns = counts.shape
    texts_with = np.bincount(counts.indices, minlength=columns)
    idf = np.log((1 + rows) / (1 + texts_with)) + 1
    used = np.flatnonzero(texts_with)  # of few texts a small part; the other columns' weights are 0
    x = _tf_idf(counts[:, used], idf[used])
    mean = np.nanmean(truth, axis=0)
    y = np.nan_to_num(truth - mean)
    x_mean = np.asarray(x.mean(axis=0)).ravel()
    weights = np.zeros((len(used), truth.shape[1]))
    fitted = []
    for penalty in penalties:
        weights = _solve(x, x_mean, y, penalty, weights)
        whole = np.zeros((columns, truth.shape[1]))
        whole[used] = weights
        fitted.append(NgramRidge(idf, whole, mean - x_mean @ weights, orders))
    return fitted


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
