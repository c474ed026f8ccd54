"""From the scores of single answers to the number of a benchmark, with its bootstrap interval.

A *unit* is what a test set draws at random: a question, a circular group, an image with its questions. Every
aggregate is a function of how often each unit was drawn, so that the interval recomputes the very same number:

    units [n] with values [n, k] ──weights [b, n]──> aggregate ──> numbers [b]        (the number itself: weights of 1)
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

Fields = Mapping[str, str]
Aggregate = Callable[[np.ndarray, "Sequence[Unit]"], np.ndarray]

GRADE = "grade"  # the field in which a judged row carries the judge's reply
NO_JUDGE = "exact match, no judge"

DRAWS = 1000
_DRAWS_AT_ONCE = 100  # bounds the memory: 100 draws of 30,000 units are 24 MB
_LEVEL = 0.95


@dataclasses.dataclass(frozen=True)
class Unit:
    """One unit's part of the number.

    Attributes:
      values: what the aggregate sums: for accuracies one score in 0-1.
      fields: the cells of the unit's (first) row; groups such as `category` are read from it.
    """

    values: tuple[float, ...]
    fields: Fields

    @property
    def category(self) -> str:
        return self.fields.get("category", "")


@dataclasses.dataclass(frozen=True)
class Score:
    """A benchmark's units and how they make its number.

    Attributes:
      metric: the number's name, as a table's head would have it.
      aggregate: weights [b, units], units -> [b].
      stratified: draw within each category, for sums over categories that must all be there.
      scale: what a value of 100 % would be, so that numbers of different benchmarks can be averaged (MME: 2800).
      more: further numbers worth a line, by name.
      groups: column -> name -> {"value", "n"}, where a benchmark averages its groups in its own way.
      note: what a reader must know about how this was scored.
    """

    metric: str
    units: Sequence[Unit]
    aggregate: Aggregate
    stratified: bool = False
    scale: float = 100.0
    more: Mapping[str, float] = dataclasses.field(default_factory=dict)
    groups: Mapping[str, Mapping[str, Mapping[str, float]]] = dataclasses.field(default_factory=dict)
    note: str = ""

    def value(self) -> float:
        """The number itself."""
        return float(self.aggregate(np.ones((1, len(self.units))), self.units)[0])

    def percent(self) -> float:
        """The number on a scale of 0-100."""
        return 100 * self.value() / self.scale


def percent(weights: np.ndarray, units: Sequence[Unit]) -> np.ndarray:
    """100 x the mean of each unit's first value: accuracy, ANLS, recall and the like."""
    values = np.array([unit.values[0] for unit in units])
    return 100 * (weights @ values) / weights.sum(axis=1)


def mean_score(metric: str, answered: Sequence[Fields], scored: Callable[[Fields], float], **more: Any) -> Score:
    """The plain case: every row is a unit with one score in 0-1, and the number is 100 x their mean."""
    return Score(metric, [Unit((scored(row),), row) for row in answered], percent, **more)


def by_group(score: Score, column: str) -> dict[str, dict[str, float]]:
    """The number within each value of `column`, sorted by name: `{name: {"value": …, "n": units}}`."""
    members: dict[str, list[Unit]] = {}
    for unit in score.units:
        if column in unit.fields:
            members.setdefault(unit.fields[column], []).append(unit)
    return {
        name: {"value": float(score.aggregate(np.ones((1, len(units))), units)[0]), "n": len(units)}
        for name, units in sorted(members.items())
    }


def draw_weights(score: Score, *, seed: int | tuple[int, ...], draws: int = DRAWS) -> Iterator[np.ndarray]:
    """How often each unit is drawn when as many as there are are drawn with replacement; [b, units] a time."""
    rng = np.random.default_rng(seed)
    strata = np.array([u.category if score.stratified else "" for u in score.units])
    places = [np.flatnonzero(strata == name) for name in sorted(set(strata))]
    for start in range(0, draws, _DRAWS_AT_ONCE):
        count = min(_DRAWS_AT_ONCE, draws - start)
        weights = np.zeros((count, len(score.units)))
        for place in places:
            weights[:, place] = rng.multinomial(len(place), np.full(len(place), 1 / len(place)), size=count)
        yield weights


def percentiles(numbers: np.ndarray) -> tuple[float, float]:
    """The middle 95 %."""
    low, high = np.quantile(numbers, [(1 - _LEVEL) / 2, (1 + _LEVEL) / 2])
    return float(low), float(high)


def bootstrap(score: Score, *, seed: int, draws: int = DRAWS) -> tuple[float, float]:
    """The 95 % percentile interval of the number over units drawn anew with replacement.

    Source: Efron 1979; the percentile interval of Efron and Tibshirani 1993, chapter 13.
    """
    numbers = [score.aggregate(weights, score.units) for weights in draw_weights(score, seed=seed, draws=draws)]
    return percentiles(np.concatenate(numbers))


def summary(score: Score, *, seed: int) -> dict[str, Any]:
    """The entry of one benchmark in `results/<run>.json`; runner.py lists its fields."""
    groups = {column: by_group(score, column) for column in ("l2-category", "split", "type")} | dict(score.groups)
    entry: dict[str, Any] = {
        "metric": score.metric,
        "value": score.value(),
        "percent": score.percent(),
        "interval": list(bootstrap(score, seed=seed)),
        "n": len(score.units),
        "categories": by_group(score, "category"),
        "groups": {column: members for column, members in groups.items() if members},
        "more": dict(score.more),
        "note": score.note,
    }
    return rounded(entry)


def rounded(value: Any) -> Any:
    """Floats to six decimals: more than any test set resolves, fewer than the order of a sum would move."""
    if isinstance(value, dict):
        return {key: rounded(v) for key, v in value.items()}
    if isinstance(value, list):
        return [rounded(v) for v in value]
    return round(value, 6) if isinstance(value, float) else value
