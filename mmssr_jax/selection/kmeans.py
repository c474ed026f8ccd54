"""k-means in numpy, deterministic for a seed: Euclidean, or spherical (unit vectors, nearest by cosine)."""

from __future__ import annotations

import numpy as np
import scipy.sparse

_ENTRIES_AT_ONCE = 1 << 24


def kmeans(
    rows: np.ndarray, clusters: int, *, seed: int, iterations: int = 50, spherical: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """Lloyd's algorithm from `clusters` randomly sampled rows; clusters that lose all rows are dropped.

    Args:
      rows: float [N, d].
      clusters: at most N.
      seed: of the initial centroids.
      iterations: their maximum number; the algorithm stops earlier once no row changes its cluster.
      spherical: normalise the centroids, and assign by the inner product.

    Returns:
      The cluster of each row, int64 [N], and the centroids, float64 [k, d], k <= clusters.
    """
    clusters = min(clusters, len(rows))
    centroid = rows[np.sort(np.random.default_rng(seed).choice(len(rows), clusters, replace=False))].astype(np.float64)
    label = np.full(len(rows), -1)
    for _ in range(iterations):
        previous, label = label, _nearest(rows, centroid, spherical=spherical)
        if np.array_equal(previous, label):
            break
        centroid = _means(rows, label, centroid, spherical=spherical)
    used, label = np.unique(label, return_inverse=True)
    return label.reshape(-1), centroid[used]


def _nearest(rows: np.ndarray, centroid: np.ndarray, *, spherical: bool) -> np.ndarray:
    """int64 [N]: the nearest centroid of each row, the first of equals."""
    offset = np.zeros(len(centroid)) if spherical else (centroid**2).sum(axis=1) / 2
    step = max(_ENTRIES_AT_ONCE // max(len(centroid), rows.shape[1]), 1)
    pieces = [
        np.argmax(rows[begin : begin + step] @ centroid.T - offset, axis=1) for begin in range(0, len(rows), step)
    ]
    return np.concatenate(pieces) if pieces else np.zeros(0, np.int64)


def _means(rows: np.ndarray, label: np.ndarray, previous: np.ndarray, *, spherical: bool) -> np.ndarray:
    """float64 [k, d]: the mean of each cluster's rows; the previous centroid where there are none."""
    member = scipy.sparse.csr_array((np.ones(len(label)), (label, np.arange(len(label)))), (len(previous), len(label)))
    count = np.bincount(label, minlength=len(previous))[:, None]
    mean = np.where(count > 0, (member @ rows) / np.maximum(count, 1), previous)
    if spherical:
        norm = np.linalg.norm(mean, axis=1, keepdims=True)
        mean = np.divide(mean, norm, out=np.zeros_like(mean), where=norm > 0)
    return mean
