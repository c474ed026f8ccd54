"""The rule of mmSSR on other scores than the scorer's: what the controls placebo, reversed and oracle share."""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Mapping, Sequence

from mmssr_jax.selection.base import Budget, Candidates, Selection
from mmssr_jax.selection.method import SelectionRun, Standing
from mmssr_jax.selection.methods.mmssr import MmssrSelector
from mmssr_jax.selection.table import ScoreTable


@dataclasses.dataclass(frozen=True)
class RescoredSelector(MmssrSelector, abc.ABC):
    """mmSSR with its settings, on a table whose scores are replaced; the recorded scores are the replaced ones."""

    @abc.abstractmethod
    def rescored(self, candidates: Candidates) -> ScoreTable:
        """The table with other scores."""

    def select(self, candidates: Candidates, budgets: Sequence[Budget]) -> Selection:
        """See `Selector.select`."""
        return super().select(dataclasses.replace(candidates, table=self.rescored(candidates)), budgets)

    def standings(self, run: SelectionRun, row: int) -> tuple[Standing, ...]:
        """See `Selector.standings`; of the replaced scores."""
        return super().standings(self._run(run), row)

    def report(self, run: SelectionRun) -> Mapping[str, float]:
        """See `Selector.report`; of the replaced scores."""
        return super().report(self._run(run))

    def _run(self, run: SelectionRun) -> SelectionRun:
        """The run on the replaced scores, which many rows are explained from."""
        return run.once("rescored", lambda: run.with_table(self.rescored(run.candidates)))

    def needed_scores(self, run: SelectionRun, row: int) -> Mapping[str, float | None]:
        """None: a sample's score alone does not determine the replaced scores."""
        return {}
