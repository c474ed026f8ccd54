"""E5-V embeddings (arXiv 2407.12580) as a selector, by two rules of this package.

How mmSSR selects with E5-V is not public. The two rules are declared as ours and claim to reproduce no published row:

    clusters    spherical k-means with one cluster for 100 samples; every prefix of the picks contains the clusters in
                proportion to their sizes, each from its centroid outwards
    walk        in a random order, keep a sample unless its cosine to a kept one exceeds a threshold, which is set by
                bisection so that the budget is met; time grows with samples times budget
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Literal

import numpy as np

from mmssr_jax.selection.base import Budget, Candidates, Selection
from mmssr_jax.selection.cells import rank_in_cell
from mmssr_jax.selection.eligible import check_whole, eligible_rows
from mmssr_jax.selection.kmeans import check_clusters, kmeans
from mmssr_jax.selection.method import Needs, SelectionRun, Selector
from mmssr_jax.selection.methods.deita import unit_vectors, walk_units
from mmssr_jax.selection.picks import in_order

_ROWS_PER_CLUSTER = 100
_ROWS_AT_ONCE = 4096
_STEPS = 128  # of the thresholds


def proportional_order(label: np.ndarray, cosine: np.ndarray) -> np.ndarray:
    """int64 [N]: rows so that every prefix contains the clusters in proportion, the highest cosine of each first.

    The r-th row (r = 0, 1, ...) of a cluster of n rows is at (r + 1/2) / n of the order (systematic sampling).

    Args:
      label: int64 [N], the cluster of each row.
      cosine: float [N], to its centroid; equal ones in row order.
    """
    by_cluster = np.lexsort((-cosine, label))
    place = np.empty(len(label))
    place[by_cluster] = (rank_in_cell(label, by_cluster) + 0.5) / np.bincount(label)[label[by_cluster]]
    return np.lexsort((-cosine, place))


def cosine_to_centroid(unit: np.ndarray, label: np.ndarray, centroid: np.ndarray) -> np.ndarray:
    """float64 [N]: the cosine of unit rows (float [N, d]) to their centroids (float64 [k, d]); label int64 [N]."""
    cosine = np.empty(len(unit))
    for begin in range(0, len(unit), _ROWS_AT_ONCE):
        at = slice(begin, begin + _ROWS_AT_ONCE)
        cosine[at] = (unit[at].astype(np.float64) * centroid[label[at]]).sum(axis=1)
    return cosine


def budget_walk(embedding: np.ndarray, count: int) -> np.ndarray:
    """int64 [count]: what `deita.diverse_walk` keeps at a low threshold that reaches the count; else the first rows.

    Bisection over the thresholds 0, 1/128, ..., 127/128. A lower threshold need not keep fewer rows, so that the result
    is a threshold that reaches the count next to one that does not.

    Args:
      embedding: float [N, d], in the order of the walk.
      count: the number of rows.
    """
    order, unit, count = np.arange(len(embedding)), unit_vectors(embedding), min(count, len(embedding))
    low, high, kept = 0, _STEPS, order[:count]
    while low < high:
        middle = (low + high) // 2
        walk = walk_units(order, unit, threshold=middle / _STEPS, count=count)
        if len(walk) == count:
            high, kept = middle, walk
        else:
            low = middle + 1
    return kept


@dataclasses.dataclass(frozen=True)
class E5vSelector(Selector):
    """By an embedding of image and text. Samples without it are skipped.

    Needs one vector per sample; no target data. Text-only samples have one and are ranked like all others. The group is
    the cluster, and the recorded score the cosine to its centroid.

    Attributes:
      feature: the column with the vector, such as that of the feature kind `embedding`.
      rule: "clusters" takes from k-means clusters in proportion to their sizes, from the centroid outwards; "walk"
        keeps samples in random order unless their cosine to a kept one is too high, at a threshold that meets the
        budget.
      clusters: of the k-means; None for one cluster for 100 samples.
    """

    feature: str = "embedding"
    rule: Literal["clusters", "walk"] = "clusters"
    clusters: int | None = None

    def __post_init__(self) -> None:
        check_clusters(self.clusters)

    @property
    def needs(self) -> Needs:
        """See `Selector.needs`."""
        return Needs(features=(self.feature,), images=True)

    def select(self, candidates: Candidates, budgets: Sequence[Budget]) -> Selection:
        """See `Selector.select`.

        Raises:
          UserError: there is no such feature, a vector has missing values, or the walk gets a budget in tokens.
        """
        matrix = candidates.table.vector(self.feature)
        rows = eligible_rows(candidates, matrix)
        check_whole(candidates, rows, matrix, self.feature)
        if not len(rows):
            return in_order(candidates, budgets, rows)
        if self.rule == "walk":
            walk = rows[np.argsort(~np.isin(rows, candidates.required), kind="stable")]
            return in_order(candidates, budgets, lambda count: walk[budget_walk(matrix[walk], count)], fill=rows)
        unit = np.nan_to_num(unit_vectors(matrix[rows]))
        clusters = max(len(rows) // _ROWS_PER_CLUSTER, 1) if self.clusters is None else self.clusters
        label, centroid = kmeans(unit, clusters, seed=candidates.seed, spherical=True)
        cosine = cosine_to_centroid(unit, label, centroid)
        score = np.full(len(matrix), np.nan, np.float32)
        group = np.full(len(matrix), -1, np.int32)
        score[rows], group[rows] = cosine, label
        names = tuple(f"cluster {c}" for c in range(len(centroid)))
        order = rows[proportional_order(label, cosine)]
        return in_order(candidates, budgets, order, score=score, group=group, group_names=names)

    def why_not(self, run: SelectionRun, row: int) -> str:
        """See `Selector.why_not`."""
        matrix = run.table.vector(self.feature)
        if np.isnan(matrix[row]).all():
            return f"it has no {self.feature}"
        if self.rule == "clusters":
            return "the share of its cluster was filled by samples nearer to the centroid"
        picks = run.selection.rows
        if not len(picks):
            return "the budget is less than one sample"
        cosine = unit_vectors(matrix[picks]) @ unit_vectors(matrix[[row]])[0]
        nearest = int(np.argmax(np.nan_to_num(cosine, nan=-np.inf)))
        name = run.table.ids[int(picks[nearest])].as_py()
        return f"a kept sample resembles it too much, or the budget was met before it; nearest is {name}"


METHOD = E5vSelector
