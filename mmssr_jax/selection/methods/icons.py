"""ICONS (arXiv 2501.00654, princetonvisualai/icons b8ce8c8): samples by how many target tasks vote for them.

    influence = unit training gradients . unit validation gradients^T       (a task may leave its own unnormalised)
    task score = mean over the task's validation rows; a voter may be the maximum over several sub-tasks (MME)
    a task votes for every row with a score >= its percentile 100 - p, where p is the budget in per cent

The official program sorts by votes alone, so that an unstable sort decides among equal votes at the cut; here they are
ordered by the mean rank of their scores. Gradients of the tasks come from the benchmarks' own data.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from mmssr_jax.core.errors import UserError
from mmssr_jax.selection.base import Budget, Candidates, Selection
from mmssr_jax.selection.eligible import eligible_rows
from mmssr_jax.selection.method import Needs, SelectionRun, Selector
from mmssr_jax.selection.picks import in_order


def votes(score: np.ndarray, percent: float) -> np.ndarray:
    """int64 [N]: the number of voters for whom a row's score reaches the percentile 100 - percent (linear).

    A voter with a NaN score casts no vote, as in the official program.

    Args:
      score: float [N, voters].
      percent: the budget in per cent of N.
    """
    return (score >= np.percentile(score, 100 - percent, axis=0)).sum(axis=1)


def vote_order(score: np.ndarray, percent: float) -> np.ndarray:
    """int64 [N]: rows by descending votes, equal votes by the mean rank of their scores, then in row order.

    Args:
      score: float [N, voters].
      percent: the budget in per cent of N.
    """
    rank = np.argsort(np.argsort(-score, axis=0, kind="stable"), axis=0, kind="stable").sum(axis=1)
    return np.lexsort((rank, -votes(score, percent)))


@dataclasses.dataclass(frozen=True)
class IconsSelector(Selector):
    """ICONS on the influences of a sample on target tasks; the recorded score is the number of votes.

    Needs influences of training on target tasks, from gradients that see the images: it uses target data. Text-only
    samples have gradients and are ranked like all others. Samples without an influence on every task are skipped.

    Attributes:
      voters: columns of influences, one per task; all if empty.
      merged: further voters that are the maximum over several columns, by any name, such as the sub-tasks of MME.
    """

    voters: tuple[str, ...] = ()
    merged: Mapping[str, tuple[str, ...]] = dataclasses.field(default_factory=dict)

    @property
    def needs(self) -> Needs:
        """See `Selector.needs`."""
        columns = tuple(name for names in self.merged.values() for name in names)
        features = (*self.voters, *columns) if self.voters else ()
        return Needs(features=features, target_data=True, images=True)

    def _single_voters(self, candidates: Candidates) -> tuple[str, ...]:
        merged = [name for names in self.merged.values() for name in names]
        return self.voters or tuple(name for name in candidates.table.features if name not in merged)

    def _scores(self, candidates: Candidates) -> np.ndarray:
        """float64 [rows, voters]."""
        table = candidates.table
        columns = [table.number(name) for name in self._single_voters(candidates)]
        columns += [np.maximum.reduce([table.number(name) for name in names]) for names in self.merged.values()]
        if not columns:
            raise UserError("the method icons needs feature tables with the influence on each task, as `features`")
        return np.stack(columns, axis=1).astype(np.float64)

    def select(self, candidates: Candidates, budgets: Sequence[Budget]) -> Selection:
        """See `Selector.select`.

        Raises:
          UserError: a feature is missing or has no value at all, or the budget is in tokens.
        """
        score = self._scores(candidates)
        silent = np.isnan(score).all(axis=0)
        if len(score) and silent.any():
            name = [*self._single_voters(candidates), *self.merged][int(np.argmax(silent))]
            raise UserError(f"no sample has an influence on the task {name}; write that feature again or leave it out")
        rows = eligible_rows(candidates, *score.T)
        count = budgets[-1].samples(candidates.pool_size)
        shown = np.full(len(score), np.nan, np.float32)
        if count is not None and len(rows):
            shown[rows] = votes(score[rows], _percent(count, len(rows)))

        def order(count: int) -> np.ndarray:
            return rows[vote_order(score[rows], _percent(count, len(rows)))] if len(rows) else rows

        return in_order(candidates, budgets, order, score=shown)

    def why_not(self, run: SelectionRun, row: int) -> str:
        """See `Selector.why_not`."""
        if np.isnan(self._scores(run.candidates)[row]).any():
            return "it has no influence on some task"
        taken = run.selection.score[run.selection.round > 0]
        fewest = f"{taken.min():g}" if len(taken) else "no"
        return f"it has too few votes; what was taken has {fewest} or more"


def _percent(count: int, rows: int) -> float:
    return min(100 * count / rows, 100.0)


METHOD = IconsSelector
