"""k-means, Euclidean or spherical, with the same result for any number of threads and any device.

The scores of all centroids are computed on the accelerator in float32 and only narrow the choice: every centroid within
the rounding error of the best one is a candidate. Where a row has several, numpy decides in float64, with a fixed order
of summation. Sums of clusters are computed in numpy too, block by block in row order.

Rows are read in blocks, so that they may be memory-mapped; beyond the rows, memory holds one block, the centroids and
one label per row.
"""

from __future__ import annotations

from collections.abc import Iterator

import jax
import jax.numpy as jnp
import numpy as np

_ENTRIES_AT_ONCE = 1 << 24
_COLUMNS_AT_ONCE = 512


def check_clusters(clusters: int | None) -> None:
    """Raises ValueError if a number of clusters, None for a method's own, is below 1."""
    if clusters is not None and clusters < 1:
        raise ValueError(f"clusters is {clusters}; it must be at least 1")


def kmeans(
    rows: np.ndarray, clusters: int, *, seed: int, iterations: int = 50, spherical: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """Lloyd's algorithm from `clusters` randomly sampled rows; clusters that lose all rows are dropped.

    Args:
      rows: float [N, d], finite; may be memory-mapped.
      clusters: at most N.
      seed: of the initial centroids.
      iterations: their maximum number; the algorithm stops earlier once no row changes its cluster.
      spherical: scale the centroids to unit length, and assign by the inner product.

    Returns:
      The nearest centroid of each row, int64 [N], and the centroids, float64 [k, d], k <= clusters.
    """
    clusters = min(clusters, len(rows))
    first = np.sort(np.random.default_rng(seed).choice(len(rows), clusters, replace=False))
    centroid = np.asarray(rows[first], np.float64)
    centroid = _unit(centroid) if spherical else centroid
    label, norm = np.full(len(rows), -1), _norms(rows)
    for _ in range(iterations):
        previous, label = label, nearest_centroid(rows, centroid, spherical=spherical, norm=norm)
        if np.array_equal(previous, label):
            break
        centroid = _means(rows, label, centroid)
        centroid = _unit(centroid) if spherical else centroid
    else:
        label = nearest_centroid(rows, centroid, spherical=spherical, norm=norm)
    used, label = np.unique(label, return_inverse=True)
    return label.reshape(-1), centroid[used]


def nearest_centroid(
    rows: np.ndarray, centroid: np.ndarray, *, spherical: bool, norm: np.ndarray | None = None
) -> np.ndarray:
    """int64 [N]: the centroid with the smallest distance, or the largest inner product; the first of equals.

    Args:
      rows: float [N, d], finite.
      centroid: float64 [k, d].
      spherical: by the inner product.
      norm: float64 [N], the length of each row; computed if None.
    """
    norm = _norms(rows) if norm is None else norm
    offset = np.zeros(len(centroid)) if spherical else (centroid**2).sum(axis=1) / 2
    padded = _power_of_two(len(centroid)) - len(centroid)  # few shapes to compile
    centroid32 = jnp.asarray(np.pad(centroid.astype(np.float32), ((0, padded), (0, 0))))
    offset32 = jnp.asarray(np.pad(offset.astype(np.float32), (0, padded), constant_values=np.inf))
    # Twice the bound of the rounding error of a difference of two scores: n additions err by n / 2 epsilons at most.
    additions = min(rows.shape[1], _COLUMNS_AT_ONCE) + rows.shape[1] // _COLUMNS_AT_ONCE + 8
    error = 2 * additions * float(np.finfo(np.float32).eps)
    longest = float(np.sqrt((centroid**2).sum(axis=1)).max(initial=0))
    label = np.empty(len(rows), np.int64)
    for begin, end, height in _blocks(len(rows), max(len(centroid) + padded, rows.shape[1])):
        block = np.asarray(rows[begin:end])
        bound = error * (norm[begin:end] * longest + np.abs(offset).max(initial=0))
        rest = height - len(block)
        near_BK, nearest_B, count_B = _candidates(
            jnp.asarray(np.pad(block.astype(np.float32), ((0, rest), (0, 0)))),
            centroid32,
            offset32,
            jnp.asarray(np.pad(bound.astype(np.float32), (0, rest))),
        )
        label[begin:end] = np.asarray(nearest_B)[: len(block)]
        unsure = np.flatnonzero(np.asarray(count_B)[: len(block)] != 1)
        if len(unsure):
            label[begin + unsure] = _decide(block[unsure], centroid, offset, np.asarray(near_BK)[unsure])
    return label


@jax.jit
def _candidates(
    rows_BD: jax.Array, centroid_KD: jax.Array, offset_K: jax.Array, bound_B: jax.Array
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Which centroids score within `bound` of the best: bool [B, K]; the first of them and their number, int [B]."""
    score_BK = -offset_K[None]
    for begin in range(0, rows_BD.shape[1], _COLUMNS_AT_ONCE):  # short sums keep the bound small
        at = slice(begin, begin + _COLUMNS_AT_ONCE)
        score_BK = score_BK + jnp.matmul(rows_BD[:, at], centroid_KD[:, at].T, precision=jax.lax.Precision.HIGHEST)
    near_BK = score_BK >= (score_BK.max(axis=1) - bound_B)[:, None]
    return near_BK, jnp.argmax(near_BK, axis=1), near_BK.sum(axis=1)


def _decide(rows: np.ndarray, centroid: np.ndarray, offset: np.ndarray, near: np.ndarray) -> np.ndarray:
    """int64 [N]: the best of each row's candidates in float64; rows [N, d], near bool [N, >= k]."""
    row, candidate = np.nonzero(near)
    score = np.empty(len(row))
    step = max(_ENTRIES_AT_ONCE // (8 * rows.shape[1] + 1), 1)
    for begin in range(0, len(row), step):
        at = slice(begin, begin + step)
        product = rows[row[at]].astype(np.float64) * centroid[candidate[at]]
        score[at] = product.sum(axis=1) - offset[candidate[at]]
    order = np.lexsort((candidate, -score, row))
    _, first = np.unique(row[order], return_index=True)
    return candidate[order[first]]


def _means(rows: np.ndarray, label: np.ndarray, previous: np.ndarray) -> np.ndarray:
    """float64 [k, d]: the mean of each cluster's rows; the previous centroid where there are none."""
    total = np.zeros_like(previous)
    for begin, end, _ in _blocks(len(rows), max(previous.shape)):
        order = np.argsort(label[begin:end], kind="stable")
        used, first = np.unique(label[begin:end][order], return_index=True)
        total[used] += np.add.reduceat(np.asarray(rows[begin:end], np.float64)[order], first, axis=0)
    count = np.bincount(label, minlength=len(previous))[:, None]
    return np.where(count > 0, total / np.maximum(count, 1), previous)


def _norms(rows: np.ndarray) -> np.ndarray:
    """float64 [N]: the length of each row."""
    norm = np.empty(len(rows))
    for begin, end, _ in _blocks(len(rows), rows.shape[1]):
        norm[begin:end] = np.sqrt((np.asarray(rows[begin:end], np.float64) ** 2).sum(axis=1))
    return norm


def _blocks(rows: int, width: int) -> Iterator[tuple[int, int, int]]:
    """Begin, end and padded height of blocks with about `_ENTRIES_AT_ONCE` entries of `width` columns."""
    step = min(_power_of_two(max(_ENTRIES_AT_ONCE // (2 * width), 1)), _power_of_two(rows))
    for begin in range(0, rows, step):
        yield begin, min(begin + step, rows), step


def _power_of_two(n: int) -> int:
    """The smallest power of two that is at least n."""
    return 1 << max(n - 1, 0).bit_length()


def _unit(rows: np.ndarray) -> np.ndarray:
    """Rows [N, d] scaled to unit length; zeros stay."""
    norm = np.sqrt((rows**2).sum(axis=1, keepdims=True))
    return np.divide(rows, norm, out=np.zeros_like(rows), where=norm > 0)


def members(label: np.ndarray) -> list[np.ndarray]:
    """The rows of each cluster 0, 1, ..., int64 [size] each, in ascending order, from labels int [N]."""
    order = np.argsort(label, kind="stable")
    return np.split(order, np.cumsum(np.bincount(label, minlength=1))[:-1])
