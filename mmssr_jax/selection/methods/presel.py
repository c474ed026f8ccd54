"""PreSel (arXiv 2503.07591, bardisafa/PreSel 2dd6709): tasks by how much their questions matter, typical images inside.

value of a task   mean, over its reference samples, of loss(answers | image, questions) / loss(answers | image)
quota of a task   softmax of -value / T, T = 1 / sqrt(tasks); truncated, the rest to the largest share
quota of a cluster  in proportion to its rows outside the reference
inside            highest mean cosine to the five nearest rows of the cluster outside the reference
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from mmssr_jax.core.errors import UserError
from mmssr_jax.selection.base import Budget, Candidates, Selection
from mmssr_jax.selection.eligible import check_whole, eligible_rows
from mmssr_jax.selection.kmeans import kmeans, members
from mmssr_jax.selection.method import Needs, SelectionRun, Selector
from mmssr_jax.selection.picks import in_order

_NEIGHBOURS = 5
_CLUSTERS = 0.01  # of a task's rows
_ROWS_AT_ONCE = 1024


def task_values(with_question: np.ndarray, without_question: np.ndarray, task: np.ndarray, tasks: int) -> np.ndarray:
    """float64 [tasks]: the mean ratio of the losses; NaN for a task without reference rows.

    Args:
      with_question, without_question: float [N], losses of the answers; NaN outside the reference.
      task: int64 [N].
      tasks: their number.
    """
    ratio = with_question.astype(np.float64) / without_question
    known = ~np.isnan(ratio)
    total = np.bincount(task[known], ratio[known], minlength=tasks)
    count = np.bincount(task[known], minlength=tasks)
    return np.divide(total, count, out=np.full(tasks, np.nan), where=count > 0)


def _softmax(value: np.ndarray, temperature: float) -> np.ndarray:
    logit = -value / temperature
    weight = np.exp(logit - logit.max())
    return weight / weight.sum()


def task_quotas(value: np.ndarray, count: int, temperature: float) -> np.ndarray:
    """int64 [tasks]: truncated shares of `count`; the rest goes to the largest share. `value`: float [tasks]."""
    share = _softmax(value, temperature)
    quota = (share * count).astype(np.int64)
    quota[np.argmax(share)] += count - quota.sum()
    return quota


def cluster_quotas(left: np.ndarray, size: np.ndarray, count: int) -> np.ndarray:
    """int64 [clusters]: shares of `count` in proportion to `left`, rounded half to even.

    A deficit adds one to the largest clusters, a surplus takes one from the smallest, in one pass each.

    Args:
      left: int64 [clusters], rows outside the reference.
      size: int64 [clusters], all rows.
      count: the number of rows.
    """
    if not left.sum():
        return np.zeros(len(left), np.int64)
    quota = np.minimum(np.rint(left / left.sum() * count).astype(np.int64), left)
    for c in np.argsort(-size, kind="stable"):
        if quota.sum() < count and quota[c] < left[c]:
            quota[c] += 1
    for c in np.argsort(size, kind="stable"):
        if quota.sum() > count and quota[c] > 0:
            quota[c] -= 1
    return quota


def typicality(unit: np.ndarray) -> np.ndarray:
    """float64 [N]: the mean cosine to the nearest min(5, N - 1) rows of unit vectors, float [N, d]."""
    if len(unit) == 1:
        return np.zeros(1)
    nearest = min(_NEIGHBOURS, len(unit) - 1)
    value = np.empty(len(unit))
    for begin in range(0, len(unit), _ROWS_AT_ONCE):
        cosine = unit[begin : begin + _ROWS_AT_ONCE] @ unit.T
        own = np.arange(len(cosine))
        cosine[own, begin + own] = -np.inf
        highest = np.partition(cosine, -nearest, axis=1)[:, -nearest:]
        value[begin + own] = np.sort(highest, axis=1)[:, ::-1].mean(axis=1)
    return value


def select_typical(feature: np.ndarray, cluster: np.ndarray, reference: np.ndarray, count: int) -> np.ndarray:
    """int64 [<= count]: rows of one task outside the reference, cluster by cluster.

    Args:
      feature: float [N, d].
      cluster: int64 [N], from 0.
      reference: bool [N].
      count: the number of rows.
    """
    clusters = members(cluster)
    left, size = (np.bincount(c, minlength=len(clusters)) for c in (cluster[~reference], cluster))
    order = [np.zeros(0, np.int64)]
    for rows, quota in zip(clusters, cluster_quotas(left, size, min(count, int(left.sum()))), strict=True):
        if quota:
            free = rows[~reference[rows]]
            order.append(free[np.argsort(-typicality(_unit(feature[free])), kind="stable")[:quota]])
    return np.concatenate(order)


def _unit(rows: np.ndarray) -> np.ndarray:
    """float64 [N, d]: the rows (float [N, d]) in unit length; zeros stay."""
    norm = np.linalg.norm(rows.astype(np.float64), axis=1, keepdims=True)
    return rows / np.where(norm > 0, norm, 1)


@dataclasses.dataclass(frozen=True)
class PreselSelector(Selector):
    """PreSel with the sources as tasks. The reference, all samples with both losses, comes first.

    Needs a vector of the image of each sample, and the losses of a random reference of every source; no target data.
    Samples without the vector, such as text only, are skipped. As in the published pipeline, random samples fill up
    what a task with fewer rows than its quota leaves open.

    Attributes:
      feature: the column with the vector of the image (DINOv2 in the paper).
      with_question, without_question: the columns with the losses of the reference samples.
    """

    feature: str = "embedding"
    with_question: str = "loss_with_question"
    without_question: str = "loss_without_question"

    @property
    def needs(self) -> Needs:
        """See `Selector.needs`."""
        features = (self.feature, self.with_question, self.without_question)
        return Needs(features=features, images=True, text_only="skipped")

    def select(self, candidates: Candidates, budgets: Sequence[Budget]) -> Selection:
        """See `Selector.select`.

        Raises:
          UserError: a feature is missing, a source has no reference samples, or the budget is in tokens.
        """
        table = candidates.table
        matrix = table.vector(self.feature)
        losses = [table.number(name) for name in (self.with_question, self.without_question)]
        rows = eligible_rows(candidates, matrix)
        if not len(rows):
            return in_order(candidates, budgets, rows)
        check_whole(candidates, rows, matrix, self.feature)
        present, task = np.unique(table.source[rows], return_inverse=True)
        value = task_values(losses[0][rows], losses[1][rows], task, len(present))
        if not np.isfinite(value).all():
            first = int(np.argmin(np.isfinite(value)))
            cause = "has no sample with both losses" if np.isnan(value[first]) else "has losses of 0"
            name = table.source_names[present[first]]
            raise UserError(f"the source {name} {cause}; presel needs some of every source")
        reference = ~np.isnan(losses[0][rows] / losses[1][rows])
        label = np.zeros(len(rows), np.int64)
        for t in range(len(present)):
            own = task == t
            clusters = max(int(_CLUSTERS * own.sum()), 1)
            label[own], _ = kmeans(_unit(matrix[rows[own]]).astype(np.float32), clusters, seed=candidates.seed)

        def order(count: int) -> np.ndarray:
            further = max(count - int(reference.sum()), 0)
            chosen = [rows[reference]]
            for t, quota in enumerate(task_quotas(value, further, len(present) ** -0.5) if further else ()):
                own = np.flatnonzero(task == t)
                chosen.append(rows[own[select_typical(matrix[rows[own]], label[own], reference[own], int(quota))]])
            return np.concatenate(chosen)

        return in_order(candidates, budgets, order, group=table.source, group_names=table.source_names, fill=rows)

    def why_not(self, run: SelectionRun, row: int) -> str:
        """See `Selector.why_not`."""
        if np.isnan(run.table.vector(self.feature)[row]).all():
            return f"it has no {self.feature}"
        name = run.table.source_names[run.table.source[row]]
        return f"the quota of its source {name} was filled with more typical samples"


METHOD = PreselSelector
