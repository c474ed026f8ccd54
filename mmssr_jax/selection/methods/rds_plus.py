"""RDS+ (arXiv 2503.01807, hamishivi/automated-instruction-selection df71a04): nearest to the queries of target tasks.

One task: round robin over its queries, each taking its next-ranked row; a row that is taken already costs the query its
turn. Several tasks: the maximum over the queries of each task, then round robin over the tasks in the same way.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np

from mmssr_jax.core.errors import UserError
from mmssr_jax.selection.base import Budget, Candidates, Selection
from mmssr_jax.selection.eligible import eligible_rows
from mmssr_jax.selection.method import Needs, SelectionRun, Selector
from mmssr_jax.selection.picks import in_order


def round_robin(similarity: np.ndarray) -> np.ndarray:
    """int64 [N]: all rows in the order of the round robin, equal similarities in row order.

    Args:
      similarity: float [Q, N], of each query (or task) to each row.
    """
    ranked = np.argsort(-similarity, axis=1, kind="stable").T.reshape(-1)  # rank by rank, query by query
    _, first = np.unique(ranked, return_index=True)
    return ranked[np.sort(first)]


def order_by_tasks(similarity: np.ndarray, task: np.ndarray) -> np.ndarray:
    """int64 [N]: the order of RDS+ over the queries of one task, or over several tasks.

    Args:
      similarity: float [Q, N].
      task: int [Q], the task of each query, from 0.
    """
    if task.max() == 0:
        return round_robin(similarity)
    return round_robin(np.stack([similarity[task == t].max(axis=0) for t in range(int(task.max()) + 1)]))


def order_by_maximum(similarity: np.ndarray) -> np.ndarray:
    """int64 [N]: rows by their highest similarity to any query (float [Q, N]), as in the repository's other script."""
    return np.argsort(-similarity.max(axis=0), kind="stable")


@dataclasses.dataclass(frozen=True)
class RdsPlusSelector(Selector):
    """RDS+ on similarities to queries; the recorded score is the highest one. Samples without all of them are skipped.

    Needs similarities to the queries of target tasks: it uses target data. As published they come from text alone, and
    text-only samples are ranked like all others.

    Attributes:
      tasks: the columns with the similarities to the queries of each task, by task. Tasks take turns in this order,
        which is alphabetical for the section of a config. None reads all columns of the feature tables, whose tasks are
        their names before the last dot, as the feature kind `weighted_states` writes them.
      rule: the round robin of the paper, or the highest similarities as in the repository's other script.
    """

    tasks: Mapping[str, tuple[str, ...]] | None = None
    rule: Literal["round_robin", "maximum"] = "round_robin"

    def __post_init__(self) -> None:
        if self.tasks is not None and (not self.tasks or not all(self.tasks.values())):
            raise ValueError("tasks is empty; name the columns of the queries of each task")

    @property
    def needs(self) -> Needs:
        """See `Selector.needs`."""
        tasks = self.tasks or {}
        return Needs(features=tuple(name for names in tasks.values() for name in names), target_data=True)

    def _queries(self, candidates: Candidates) -> list[tuple[str, str]]:
        """The task and the column of each query, task by task."""
        if self.tasks is not None:
            return [(task, name) for task, names in self.tasks.items() for name in names]
        found = [(name.rpartition(".")[0], name) for name in candidates.table.features]
        if not found:
            raise UserError("the method rds_plus needs feature tables with similarities to queries, as `features`")
        return sorted(found, key=lambda query: query[0])  # the queries of a task stay in the table's order

    def _similarity(self, candidates: Candidates) -> np.ndarray:
        """float32 [Q, rows]."""
        return np.stack([candidates.table.number(name) for _, name in self._queries(candidates)])

    def select(self, candidates: Candidates, budgets: Sequence[Budget]) -> Selection:
        """See `Selector.select`.

        Raises:
          UserError: there is no such feature.
        """
        similarity = self._similarity(candidates)
        rows = eligible_rows(candidates, *similarity)
        names = [task for task, _ in self._queries(candidates)]
        task = np.array([list(dict.fromkeys(names)).index(name) for name in names])
        eligible = similarity[:, rows]
        order = order_by_tasks(eligible, task) if self.rule == "round_robin" else order_by_maximum(eligible)
        return in_order(candidates, budgets, rows[order], score=similarity.max(axis=0))

    def why_not(self, run: SelectionRun, row: int) -> str:
        """See `Selector.why_not`."""
        similarity = self._similarity(run.candidates)[:, row]
        if np.isnan(similarity).any():
            return "it has no similarity to some query"
        return f"its turn did not come; its highest similarity to a query is {similarity.max():.4g}"


METHOD = RdsPlusSelector
