"""Aggregation of per-answer scores into a benchmark's metric, with a bootstrap confidence interval.

A *unit* is what the bootstrap resamples: a question, a circular group, an image with its questions. An aggregate is a
function of the units' weights (how often each one was resampled), so that the interval is of exactly the same metric:

    units [n] with values [n, k] ──weights [b, n]──> aggregate ──> metric [b]        (weights of 1 give the metric)
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from mmssr_jax.core.json_format import json_numbers

Fields = Mapping[str, str]
Aggregate = Callable[[np.ndarray, "Sequence[Unit]"], np.ndarray]

GRADE = "grade"  # the field that holds the judge's reply in a graded row
CLUSTER = "image_cluster"  # the field that holds a digest of a row's images, where the bootstrap clusters by image
NO_JUDGE = "exact match, no judge"

RESAMPLES = 1000
_RESAMPLES_PER_CHUNK = 100  # bounds the memory: 100 resamples of 30,000 units are 24 MB
_LEVEL = 0.95


@dataclasses.dataclass(frozen=True)
class Unit:
    """One unit's contribution to the metric.

    Attributes:
      values: the k numbers that the aggregate sums; for an accuracy, one score in 0-1.
      fields: the cells of the unit's (first) row; groups such as `category` are read from them.
    """

    values: tuple[float, ...]
    fields: Fields

    @property
    def category(self) -> str:
        return self.fields.get("category", "")

    @property
    def cluster(self) -> str | None:
        """Units with the same value are resampled together; None for a unit that is resampled alone."""
        return self.fields.get(CLUSTER)


@dataclasses.dataclass(frozen=True)
class Score:
    """A benchmark's units and their aggregate.

    Attributes:
      metric: the metric's name, as in a table header.
      aggregate: maps weights `[b, n]` and n units to the metric, `[b]`.
      stratified: resample within each category, for sums over categories none of which may be empty.
      scale: the metric's value at 100 %, so that different benchmarks can be averaged (MME: 2800).
      more: further metrics by name.
      groups: column -> name -> {"value", "n"}, for a benchmark with a non-standard average of its groups.
      note: what a reader must know about how this was scored.
      variants: further metrics of the same questions by name, each with its units (ranked answers: see ranking.py).
    """

    metric: str
    units: Sequence[Unit]
    aggregate: Aggregate
    stratified: bool = False
    scale: float = 100.0
    more: Mapping[str, float] = dataclasses.field(default_factory=dict)
    groups: Mapping[str, Mapping[str, Mapping[str, float]]] = dataclasses.field(default_factory=dict)
    note: str = ""
    variants: Mapping[str, Score] = dataclasses.field(default_factory=dict)

    def value(self) -> float:
        """The metric."""
        return float(self.aggregate(np.ones((1, len(self.units))), self.units)[0])

    def percent(self) -> float:
        """The metric on a scale of 0-100."""
        return 100 * self.value() / self.scale


def percent(weights: np.ndarray, units: Sequence[Unit]) -> np.ndarray:
    """100 x the weighted mean of the units' first value, for accuracy, ANLS, recall: weights `[b, n]` -> `[b]`."""
    values = np.array([unit.values[0] for unit in units])
    return 100 * (weights @ values) / weights.sum(axis=1)


def mean(weights: np.ndarray, units: Sequence[Unit]) -> np.ndarray:
    """The weighted mean of the units' first value: weights `[b, n]` -> `[b]`."""
    values = np.array([unit.values[0] for unit in units])
    return (weights @ values) / weights.sum(axis=1)


def mean_score(metric: str, answered: Sequence[Fields], scored: Callable[[Fields], float], **more: Any) -> Score:
    """The common case: every row is a unit with one score in 0-1; the metric is 100 x their mean."""
    return Score(metric, [Unit((scored(row),), row) for row in answered], percent, **more)


def by_group(score: Score, column: str) -> dict[str, dict[str, float]]:
    """The metric within each value of `column`, sorted by name: `{name: {"value": …, "n": units}}`."""
    members: dict[str, list[Unit]] = {}
    for unit in score.units:
        if column in unit.fields:
            members.setdefault(unit.fields[column], []).append(unit)
    return {
        name: {"value": float(score.aggregate(np.ones((1, len(units))), units)[0]), "n": len(units)}
        for name, units in sorted(members.items())
    }


def grouped(
    answered: Sequence[Fields], scored: Callable[[Fields], float], columns: Sequence[str]
) -> dict[str, dict[str, dict[str, float]]]:
    """`Score.groups` for the columns that the file has: 100 x the mean score of the rows of each value."""
    units = mean_score("", answered, scored)
    found = {column: by_group(units, column) for column in columns}
    return {column: members for column, members in found.items() if members}


def bootstrap_weights(score: Score, *, seed: int | tuple[int, ...], resamples: int = RESAMPLES) -> Iterator[np.ndarray]:
    """Yields bootstrap weights in chunks `[b, n]`: how often each of n units occurs in n draws with replacement.

    Units of one cluster (questions about the same images) are drawn together: as many draws as there are clusters.

    Args:
      score: its units; with `stratified`, each category is resampled separately.
      seed: of the random generator.
      resamples: the sum of all b.
    """
    rng = np.random.default_rng(seed)
    strata = np.array([u.category if score.stratified else "" for u in score.units])
    members = [np.flatnonzero(strata == name) for name in sorted(set(strata))]
    clusters = [_cluster_index([score.units[int(i)] for i in index]) for index in members]
    for start in range(0, resamples, _RESAMPLES_PER_CHUNK):
        count = min(_RESAMPLES_PER_CHUNK, resamples - start)
        weights = np.zeros((count, len(score.units)))
        for index, cluster in zip(members, clusters, strict=True):
            drawn = int(cluster.max()) + 1
            weights[:, index] = rng.multinomial(drawn, np.full(drawn, 1 / drawn), size=count)[:, cluster]
        yield weights


def _cluster_index(units: Sequence[Unit]) -> np.ndarray:
    """The number of each unit's cluster, int [n], in the order of their first units; 0 to n - 1 without clusters."""
    numbers: dict[tuple[bool, str], int] = {}
    keys = [(True, str(i)) if unit.cluster is None else (False, unit.cluster) for i, unit in enumerate(units)]
    return np.array([numbers.setdefault(key, len(numbers)) for key in keys])


def percentiles(values: np.ndarray) -> tuple[float, float]:
    """The 2.5th and 97.5th percentile of bootstrap values, `[b]`."""
    low, high = np.quantile(values, [(1 - _LEVEL) / 2, (1 + _LEVEL) / 2])
    return float(low), float(high)


def bootstrap(score: Score, *, seed: int, resamples: int = RESAMPLES) -> tuple[float, float]:
    """The 95 % bootstrap percentile interval of the metric.

    Source: Efron 1979; the percentile interval of Efron and Tibshirani 1993, chapter 13.
    """
    chunks = bootstrap_weights(score, seed=seed, resamples=resamples)
    return percentiles(np.concatenate([score.aggregate(weights, score.units) for weights in chunks]))


def summary(score: Score, *, seed: int) -> dict[str, Any]:
    """The entry of one benchmark in `results/<run>.json`; the docstring of runner.py lists its fields."""
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
    return json_numbers(entry)
