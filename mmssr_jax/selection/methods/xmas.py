"""XMAS (arXiv 2510.01454, BigML-CS-UCLA/XMAS c3e95c8): the most stable samples of clusters of training trajectories.

    trajectory   of a sample: at each checkpoint of a proxy, the sum of the five largest singular values of its
                 attention from text to image tokens
    instability  sum of the absolute differences between checkpoints
    selection    clusters of trajectories, smallest first, in equal shares of what is left; lowest instability first

Text-only samples form one more cluster, of which random rows are taken. The official program stops if its share exceeds
its size; here a share that a cluster cannot fill passes on, as for the others.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from mmssr_jax.selection.base import Budget, Candidates, Selection
from mmssr_jax.selection.cells import random_order
from mmssr_jax.selection.eligible import eligible_rows
from mmssr_jax.selection.kmeans import check_clusters, kmeans, members
from mmssr_jax.selection.method import Needs, SelectionRun, Selector
from mmssr_jax.selection.picks import in_order

_SMALLEST = 3  # smaller clusters are left out
_ROWS_PER_CLUSTER = 665  # 1,000 clusters of LLaVA-665k
_STREAM = 3001


def trajectory(singular_values: np.ndarray, *, top: int = 5) -> np.ndarray:
    """float32 [N, checkpoints]: the sum of the largest values, from float [checkpoints, N, values], unsorted."""
    largest = -np.sort(-singular_values, axis=2)[:, :, :top]
    return largest.sum(axis=2).T.astype(np.float32)


def instability(values: np.ndarray) -> np.ndarray:
    """float32 [N]: sum of absolute differences between checkpoints, from float32 [N, checkpoints]; NaN stays NaN."""
    return np.abs(np.diff(values.astype(np.float32), axis=1)).sum(axis=1, dtype=np.float32)


def select_stable(unstable: np.ndarray, cluster: np.ndarray, count: int) -> np.ndarray:
    """int64 [<= count]: rows, cluster by cluster.

    Clusters of at most two rows are left out, so that fewer rows than `count` may come out.

    Args:
      unstable: float [N], the instability; equal values in row order, NaN last.
      cluster: int64 [N].
      count: the number of rows.
    """
    clusters = [rows for rows in members(np.unique(cluster, return_inverse=True)[1]) if len(rows) >= _SMALLEST]
    size = np.array([len(rows) for rows in clusters], np.int64)
    order, left = [np.zeros(0, np.int64)], count
    for waiting, c in zip(range(len(clusters), 0, -1), np.argsort(size, kind="stable"), strict=True):
        rows = clusters[c]
        rows = rows[np.argsort(unstable[rows], kind="stable")][: left // waiting]
        order.append(rows)
        left -= len(rows)
    return np.concatenate(order)


@dataclasses.dataclass(frozen=True)
class XmasSelector(Selector):
    """XMAS; the recorded score is the instability. Samples without a trajectory count as text only.

    Needs a trajectory from checkpoints of a proxy that receives the images; no target data. Text-only samples are
    sampled at random, as one more cluster. Small clusters are left out; random samples fill up a budget that the others
    cannot meet.

    Attributes:
      trajectory: the column with one number per checkpoint, in order.
      clusters: of the k-means; None for the published ratio, one cluster for 665 samples.
    """

    trajectory: str
    clusters: int | None = None

    def __post_init__(self) -> None:
        check_clusters(self.clusters)

    @property
    def needs(self) -> Needs:
        """See `Selector.needs`."""
        return Needs(features=(self.trajectory,), images=True, text_only="sampled")

    def select(self, candidates: Candidates, budgets: Sequence[Budget]) -> Selection:
        """See `Selector.select`.

        Raises:
          UserError: the feature is missing, or the budget is in tokens.
        """
        values = candidates.table.vector(self.trajectory)
        rows = eligible_rows(candidates, values)
        text_only = candidates.allowed & np.isnan(values).all(axis=1)
        clusters = max(round(len(rows) / _ROWS_PER_CLUSTER), 1) if self.clusters is None else self.clusters
        label = np.zeros(0, np.int64)
        if len(rows):
            label, _ = kmeans(
                np.nan_to_num(values[rows], posinf=0, neginf=0), clusters, seed=candidates.seed, iterations=100
            )
        shuffled = random_order(candidates, np.flatnonzero(text_only), stream=_STREAM)
        every = np.concatenate([rows, shuffled])
        label = np.concatenate([label, np.full(len(shuffled), label.max(initial=-1) + 1)])
        unstable = np.concatenate([instability(values[rows]), np.arange(len(shuffled), dtype=np.float32)])
        score = np.full(len(values), np.nan, np.float32)
        score[rows] = unstable[: len(rows)]
        fill = every[np.argsort(candidates.random_keys[every])]

        def order(count: int) -> np.ndarray:
            return every[select_stable(unstable, label, count)]

        return in_order(candidates, budgets, order, score=score, fill=fill)

    def why_not(self, run: SelectionRun, row: int) -> str:
        """See `Selector.why_not`."""
        values = run.table.vector(self.trajectory)[row]
        if np.isnan(values).all():
            return f"it has no {self.trajectory}, and was not sampled from such samples"
        unstable = instability(values[None])[0]
        return f"its cluster is too small, or has taken its share with a lower instability than {unstable:.4g}"


METHOD = XmasSelector
