"""The interface of a selection method, and how a method is found.

A method is one file in `selection/methods/` that declares the constant `METHOD`, a frozen dataclass deriving from
`Selector`. The file's name is the value of `config.select.selections.NAME.method`; the dataclass fields are the keys
that the method adds to that section. Adding a file to the folder adds a method.
"""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Literal, TypeVar

import numpy as np

from mmssr_jax.core import discovery
from mmssr_jax.selection import methods
from mmssr_jax.selection.base import Budget, Candidates, Excluded, Selection
from mmssr_jax.selection.table import ScoreTable

DEFAULT_METHOD = "mmssr"

T = TypeVar("T")


@dataclasses.dataclass(frozen=True)
class Needs:
    """What a method reads besides the ids and sources of the pool.

    Attributes:
      scores: the capabilities' scores.
      styles: the styles, from the score table.
      tokens: the token counts, from the score table.
      features: columns of the feature tables by name; () for all columns of the tables given, None for no table.
      target_data: whether the features come from the data of target benchmarks.
      images: whether the published features are computed from the images.
      text_only: what happens to samples without images: they are ranked like all others, skipped, or sampled at random.
        The manifest of a method with features records this and the two entries above.
      truth: the true scores and styles of a synthetic pool, in place of the scorer's.
      selection: the name of another selection, whose picks become `Candidates.reference`.
      near_duplicates: whether the selection has to exclude near-duplicates.
    """

    scores: bool = False
    styles: bool = False
    tokens: bool = False
    features: tuple[str, ...] | None = None
    target_data: bool = False
    images: bool = False
    text_only: Literal["ranked", "skipped", "sampled"] = "ranked"
    truth: bool = False
    selection: str | None = None
    near_duplicates: bool = False

    @property
    def score_table(self) -> bool:
        """Whether any of it is read from a score table."""
        return self.scores or self.styles or self.tokens or self.truth

    def labels(self) -> dict[str, Any]:
        """What the manifest says of a method with features; nothing for others."""
        if self.features is None:
            return {}
        return {"target_data": self.target_data, "images": self.images, "text_only": self.text_only}


@dataclasses.dataclass(frozen=True)
class Standing:
    """The position of a sample in the list of one of its groups for one capability.

    Attributes:
      capability, group: identify the list.
      score: the sample's score; NaN = none.
      threshold: eligible samples have a higher score.
      rank: the sample's rank in the list before anything is taken, 1 = first; None if it is not eligible.
      eligible: the length of the list.
      taken: how many samples were picked for this capability from this group.
      last_score: the lowest score among those; NaN if there are none.
    """

    capability: str
    group: str
    score: float
    threshold: float
    rank: int | None
    eligible: int
    taken: int
    last_score: float


@dataclasses.dataclass(frozen=True)
class SelectionRun:
    """A selection with everything it was computed from.

    Attributes:
      selector: the method with its settings.
      budgets: the budgets that were met one after the other; only the last one's picks are the selection.
      candidates: the rows to choose from.
      excluded: the other rows, by reason.
      selection: the picks.
    """

    selector: Selector
    budgets: tuple[Budget, ...]
    candidates: Candidates
    excluded: Excluded
    selection: Selection
    _known: dict[str, Any] = dataclasses.field(default_factory=dict, init=False, repr=False, compare=False)

    @property
    def table(self) -> ScoreTable:
        return self.candidates.table

    def once(self, name: str, compute: Callable[[], T]) -> T:
        """What `compute` returns, computed once for all rows that are explained; `name` tells it from others."""
        if name not in self._known:
            self._known[name] = compute()
        return self._known[name]

    def with_table(self, table: ScoreTable) -> SelectionRun:
        """The same run with another table of the same rows; the picks are not computed again."""
        return self.with_candidates(dataclasses.replace(self.candidates, table=table))

    def with_candidates(self, candidates: Candidates) -> SelectionRun:
        """The same run with other candidates; the picks are not computed again."""
        return dataclasses.replace(self, candidates=candidates)

    def again(self, table: ScoreTable) -> Selection:
        """Selects again, from another table of the same rows."""
        return self.selector.select(self.with_table(table).candidates, self.budgets)


class Selector(abc.ABC):
    """A selection method with its settings, which are the fields of the subclass, a frozen dataclass.

    Only `select` and `why_not` must be implemented.
    """

    @property
    def needs(self) -> Needs:
        """What the method reads; nothing but ids and sources by default."""
        return Needs()

    @abc.abstractmethod
    def select(self, candidates: Candidates, budgets: Sequence[Budget]) -> Selection:
        """Selects for growing budgets of one kind.

        The first budget is met as if it were the only one; each further one extends the selection. A budget is never
        exceeded; the selection ends short of it where too few candidates are left.

        Raises:
          UserError: the table lacks what the method needs.
        """

    @abc.abstractmethod
    def why_not(self, run: SelectionRun, row: int) -> str:
        """Why a candidate was not selected, as a clause such as "its 12 tokens were not among the longest"."""

    def check(self, table: ScoreTable, degenerate: Collection[str]) -> None:
        """Rejects a table that the method cannot select from; accepts every table by default.

        Args:
          table: the scores and features.
          degenerate: capabilities whose scores the scorer's evaluation calls degenerate.

        Raises:
          UserError: names what is wrong.
        """
        return

    def total_score(self, table: ScoreTable) -> np.ndarray:
        """float64 [rows]: of near-duplicates the one with the highest value is kept; 0 by default, so ties decide."""
        return np.zeros(len(table))

    def shares(self, table: ScoreTable) -> Mapping[str, float]:
        """By capability, the share of the picks that it would get if it had enough; empty by default."""
        return {}

    def report(self, run: SelectionRun) -> Mapping[str, float]:
        """Numbers about the selection for the log and the manifest; none by default."""
        return {}

    def standings(self, run: SelectionRun, row: int) -> tuple[Standing, ...]:
        """The row's positions in the method's lists, for methods that have lists."""
        return ()

    def needed_scores(self, run: SelectionRun, row: int) -> Mapping[str, float | None]:
        """By capability, the smallest score that would get a row selected; None where no score would.

        Empty by default, and where scores alone cannot get the row selected.
        """
        return {}


def method_names() -> list[str]:
    """The names of all methods."""
    return discovery.module_names(methods)


def load_method(name: str) -> type[Selector]:
    """The dataclass of a method.

    Raises:
      UserError: there is no such method.
    """
    return discovery.load(methods, name, "METHOD", what="selection method")


def name_of(selector: Selector) -> str:
    """The name of a selector's method: that of its file."""
    return type(selector).__module__.rpartition(".")[2]


def settings_of(method: type[Selector]) -> set[str]:
    """The names of a method's settings."""
    return {field.name for field in dataclasses.fields(method)}  # type: ignore[arg-type]


def methods_with_key(key: str) -> list[str]:
    """The methods that have a setting of that name."""
    return [name for name in method_names() if key in settings_of(load_method(name))]
