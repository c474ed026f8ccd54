"""The section `select`, and the folders that it asks for, each after the selections that it depends on."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from typing import Any

from mmssr_jax.core.errors import UserError
from mmssr_jax.selection.base import Budget
from mmssr_jax.selection.config import SelectionConfig

IDS_FORMATS = ("csv", "datacomp")  # they hold no samples
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


@dataclasses.dataclass(frozen=True)
class SelectConfig:
    """The section `select`.

    A score table's other numeric columns are not capabilities: they are refused, unless a selection names its
    `capabilities`. `scores` may also be a file of ids and numbers (`selection.number_files`) of which it names some.

    Attributes:
      scores: a score folder or Parquet file, or the official program's folder of answers or parsed CSV; None for the
        scores of the workdir.
      selections: the selections by name.
      ids_only: select from the tables alone: no pool is opened, the rows are those of the scores or of the first of
        `features`, and only selection.parquet, ids.txt and the formats csv and datacomp are written.
      summary: also write `results/selections.json`: each selection's mixture against the pool's, the overlap of
        each two, and what they cost.
      verify: compute the existing selections again and compare them with their files.
      explain: ids of samples; the log then says for each selection why they were selected or not.
      compare: the names of two selections; the log then says what they have in common and what not.
    """

    selections: Mapping[str, SelectionConfig]
    scores: str | None = None
    ids_only: bool = False
    summary: bool = False
    verify: bool = False
    explain: tuple[str, ...] = ()
    compare: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name in [*self.selections, *(key for s in self.selections.values() for key in s.budgets)]:
            if not _NAME.fullmatch(name):
                raise ValueError(f"{name!r} cannot be a selection's name; use letters, digits, '.', '_' and '-'")
        if len(self.compared) not in (0, 2):
            raise ValueError(f"compare takes the names of two selections, not {len(self.compared)}")
        for name, selection in self.selections.items() if self.ids_only else ():
            further = [f for f in selection.formats if f not in IDS_FORMATS]
            if further or selection.near_duplicates is not None or selection.decontaminate is not None:
                what = f"the format {further[0]}" if further else "near_duplicates and decontaminate"
                raise ValueError(f"ids_only opens no pool, which {what} of {name} needs")
        if self.ids_only and self.summary:
            raise ValueError("ids_only opens no pool, which the summary needs")

    @property
    def compared(self) -> tuple[str, ...]:
        """`compare`; a flag passes both names as one string with a comma."""
        return tuple(name for text in self.compare for name in text.split(","))


@dataclasses.dataclass(frozen=True)
class SelectionJob:
    """One output folder: one selection at one budget."""

    folder: str
    config: SelectionConfig
    budget: Budget
    ids_only: bool = False

    @property
    def reference(self) -> str | None:
        """The folder of the selection that the method compares itself with."""
        return self.config.selector.needs.selection

    def settings(self) -> dict[str, Any]:
        """Everything besides the inputs that the folder's content depends on."""
        settings = {"selection": self.config.to_section(), "budget": self.budget}
        return {**settings, "ids_only": True} if self.ids_only else settings


def plan(config: SelectConfig) -> list[SelectionJob]:
    """The folders to make, in the order of the config, except that a selection follows the one it refers to.

    Raises:
      UserError: two selections have the same folder, or selections refer to each other in a circle.
    """
    jobs = []
    for name, selection in config.selections.items():
        for key, budget in selection.budgets.items():
            jobs.append(SelectionJob(f"{name}-{key}", selection, budget, config.ids_only))
        if not selection.budgets:
            jobs.append(SelectionJob(name, selection, selection.budget, config.ids_only))
    folders = [job.folder for job in jobs]
    twice = next((f for f in folders if folders.count(f) > 1), None)
    if twice is not None:
        raise UserError(f"config.select: two selections would be written to selections/{twice}; rename one")
    return _after_references(jobs)


def _after_references(jobs: list[SelectionJob]) -> list[SelectionJob]:
    """The jobs in an order in which each follows its reference."""
    ordered: list[SelectionJob] = []
    waiting = list(jobs)
    while waiting:
        blocked = {job.folder for job in waiting}
        ready = [job for job in waiting if job.reference not in blocked]
        if not ready:
            names = ", ".join(sorted(blocked))
            raise UserError(f"config.select: the selections {names} refer to each other in a circle")
        ordered += ready
        waiting = [job for job in waiting if job.reference in blocked]
    return ordered
