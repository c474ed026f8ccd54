"""COINCIDE (arXiv 2406.10995, G-JWLee/COINCIDE_code 629f776): clusters by transferability and density.

    embedding       per layer the unit tanh of the mean over image tokens and over text tokens; float16
    transferability of a cluster: its centroid's mean cosine to the others, text parts only, cosines > 0.9 left out
    density         of a cluster: mean over all pairs of exp(-|x - y|^2 / (2 gamma^2))
    share           softmax of transferability / density / temperature; clusters are visited by descending share
    inside          rows are added one by one so that the maximum mean discrepancy to the cluster stays smallest

Where the official program fails, this does what it evidently means: the softmax does not overflow, a cluster whose
centroid has no counterpart has transferability 0, and cluster ids without rows are ignored.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from mmssr_jax.selection.base import Budget, Candidates, Selection
from mmssr_jax.selection.eligible import eligible_rows, has_value
from mmssr_jax.selection.kmeans import check_clusters, kmeans, members
from mmssr_jax.selection.method import Needs, SelectionRun, Selector
from mmssr_jax.selection.picks import in_order

_SAME = 0.9  # centroids with a higher cosine count as the same concept
_ROWS_PER_CLUSTER = 66.5  # 10,000 clusters of LLaVA-665k
_ROWS_AT_ONCE = 2048


@dataclasses.dataclass(frozen=True)
class Allocation:
    """What COINCIDE takes and why; clusters are numbered as in its input, without empty ones.

    Attributes:
      order: int64 [picks], rows in pick order.
      transferability, density, score, probability: float64 [k].
      visit: int64 [k], the clusters in the order in which they are visited.
      taken: int64 [k], rows taken of each cluster.
    """

    order: np.ndarray
    transferability: np.ndarray
    density: np.ndarray
    score: np.ndarray
    probability: np.ndarray
    visit: np.ndarray
    taken: np.ndarray


def embed(parts: Sequence[np.ndarray], rows: np.ndarray) -> np.ndarray:
    """float16 [N, parts * d]: the unit tanh of each part, over the square root of their number; missing parts are 0.

    Args:
      parts: float [all rows, d] each: image part, then text part, layer by layer.
      rows: int64 [N], the rows to embed.
    """
    widths = [part.shape[1] for part in parts]
    embedding = np.zeros((len(rows), sum(widths)), np.float16)
    for part, end in zip(parts, np.cumsum(widths), strict=True):
        for begin in range(0, len(rows), _ROWS_AT_ONCE):
            at = slice(begin, begin + _ROWS_AT_ONCE)
            value = np.tanh(part[rows[at]].astype(np.float64))
            norm = np.linalg.norm(value, axis=1, keepdims=True) * len(parts) ** 0.5
            value = np.divide(value, norm, out=np.zeros_like(value), where=norm > 0)
            embedding[at, end - part.shape[1] : end] = np.nan_to_num(value)
    return embedding


def transferability(centroid: np.ndarray, layers: int) -> np.ndarray:
    """float64 [k]: sum over the cosines of the text halves up to 0.9, over their number.

    Args:
      centroid: float [k, 2 * layers * d], image part and text part layer by layer.
      layers: the number of layers.
    """
    text = centroid.astype(np.float64).reshape(len(centroid), layers, 2, -1)[:, :, 1].reshape(len(centroid), -1)
    norm = np.linalg.norm(text, axis=1, keepdims=True)
    text = np.divide(text, norm, out=np.zeros_like(text), where=norm > 0)
    cosine = text @ text.T
    other = cosine <= _SAME
    count = other.sum(axis=1)
    return np.divide(np.where(other, cosine, 0).sum(axis=1), count, out=np.zeros(len(count)), where=count > 0)


def _kernel(left: np.ndarray, right: np.ndarray, gamma: float) -> np.ndarray:
    """float64 [N, M]: exp(-|x - y|^2 / (2 gamma^2))."""
    square = (left**2).sum(axis=1)[:, None] + (right**2).sum(axis=1) - 2 * left @ right.T
    return np.exp(-np.maximum(square, 0) / (2 * gamma**2))


def mean_kernel(rows: np.ndarray, gamma: float) -> np.ndarray:
    """float64 [N]: each row's mean kernel value to all rows (float64 [N, d]), itself included."""
    steps = range(0, len(rows), _ROWS_AT_ONCE)
    return np.concatenate([_kernel(rows[b : b + _ROWS_AT_ONCE], rows, gamma).mean(axis=1) for b in steps])


def greedy_mmd(rows: np.ndarray, to_all: np.ndarray, count: int, gamma: float) -> np.ndarray:
    """int64 [count]: rows added one by one with the smallest maximum mean discrepancy to all rows.

    Sums are updated, so that n rows cost O(n * count * d). Gaps between candidates are near 1e-6: float64 is needed.

    Args:
      rows: float64 [N, d].
      to_all: float64 [N], the `mean_kernel`.
      count: at most N.
      gamma: of the kernel.
    """
    chosen = np.empty(count, np.int64)
    free = np.ones(len(rows), bool)
    to_chosen = np.zeros(len(rows))  # sum of kernel values to the chosen rows
    inside, across = 0.0, 0.0  # sums of the kernel inside the chosen rows, and of their means to all rows
    for size in range(1, count + 1):
        discrepancy = (inside + 2 * to_chosen + 1) / size**2 - 2 * (across + to_all) / size
        best = int(np.argmin(np.where(free, discrepancy, np.inf)))
        chosen[size - 1], free[best] = best, False
        inside += 2 * to_chosen[best] + 1
        across += to_all[best]
        to_chosen += _kernel(rows, rows[best : best + 1], gamma)[:, 0]
    return chosen


def allocate(
    embedding: np.ndarray,
    cluster: np.ndarray,
    centroid: np.ndarray,
    *,
    layers: int,
    count: int,
    temperature: float = 0.1,
    gamma: float = 1.0,
) -> Allocation:
    """Selects at most `count` rows; fewer where the last cluster is smaller than what is left.

    Args:
      embedding: float [N, 2 * layers * d].
      cluster: int64 [N].
      centroid: float [k, 2 * layers * d].
      layers: the number of layers.
      count: the number of rows.
      temperature: of the softmax.
      gamma: of the kernel.
    """
    used, label = np.unique(cluster, return_inverse=True)
    clusters = members(label.reshape(-1))[: len(used)]
    to_all = [mean_kernel(embedding[rows].astype(np.float64), gamma) for rows in clusters]
    transfer, density = transferability(centroid[used], layers), np.array([mean.mean() for mean in to_all])
    score = transfer / density
    logit = score / temperature
    visit = np.argsort(-logit, kind="stable")
    order, taken, left = [np.zeros(0, np.int64)], np.zeros(len(used), np.int64), count
    for at, c in enumerate(visit):
        share = float(np.exp(logit[c] - np.logaddexp.reduce(logit[visit[at:]])))
        want = round(left * share)  # half to even
        rows = clusters[c]
        if want <= len(rows):
            rows = rows[greedy_mmd(embedding[rows].astype(np.float64), to_all[c], want, gamma)]
        order.append(rows)
        taken[c] = len(rows)
        left -= len(rows)
    probability = np.exp(logit - np.logaddexp.reduce(logit))
    return Allocation(np.concatenate(order), transfer, density, score, probability, visit, taken)


@dataclasses.dataclass(frozen=True)
class CoincideSelector(Selector):
    """COINCIDE. Samples without any part are skipped.

    Needs the outputs of attention over image and text tokens; no target data. Text-only samples have a text part and
    are ranked like all others. The rule may end short of the budget; random samples then fill it up.

    The feature kind `attention_outputs` (without `unit`, since the tanh is taken here) pools what the official program
    pools; with `activations`, the inputs of layers, the selection is like COINCIDE, not equal to it.

    Attributes:
      parts: the columns with the means over image tokens and over text tokens, layer by layer.
      clusters: of the spherical k-means; None for the published ratio, one cluster for 66.5 samples.
      temperature: of the softmax that gives the clusters their shares; a higher one makes them more equal.
      gamma: width of the kernel exp(-|x - y|^2 / (2 gamma^2)) that a cluster's density is measured with.
    """

    parts: tuple[str, ...]
    clusters: int | None = None
    temperature: float = 0.1
    gamma: float = 1.0

    def __post_init__(self) -> None:
        if not self.parts or len(self.parts) % 2:
            raise ValueError("parts must name an image column and a text column for each layer, alternating")
        check_clusters(self.clusters)

    @property
    def needs(self) -> Needs:
        """See `Selector.needs`."""
        return Needs(features=self.parts, images=True)

    def select(self, candidates: Candidates, budgets: Sequence[Budget]) -> Selection:
        """See `Selector.select`.

        Raises:
          UserError: a feature is missing, or the budget is in tokens.
        """
        parts = [candidates.table.vector(name) for name in self.parts]
        rows = eligible_rows(candidates, np.fmin.reduce([has_value(part) for part in parts]))
        if not len(rows):
            return in_order(candidates, budgets, rows)
        embedding = embed(parts, rows)
        clusters = max(round(len(rows) / _ROWS_PER_CLUSTER), 1) if self.clusters is None else self.clusters
        label, centroid = kmeans(embedding, clusters, seed=candidates.seed, spherical=True)

        def order(count: int) -> np.ndarray:
            settings = {"temperature": self.temperature, "gamma": self.gamma}
            layers = len(self.parts) // 2
            return rows[allocate(embedding, label, centroid, layers=layers, count=count, **settings).order]

        names = tuple(f"cluster {c}" for c in range(len(centroid)))
        group = np.full(len(candidates.table), -1, np.int32)
        group[rows] = label
        return in_order(candidates, budgets, order, group=group, group_names=names, fill=rows)

    def why_not(self, run: SelectionRun, row: int) -> str:
        """See `Selector.why_not`."""
        if all(np.isnan(run.table.vector(name)[row]).all() for name in self.parts):
            return "it has no activations"
        return "its cluster's share was filled by samples that represent the cluster better"


METHOD = CoincideSelector
