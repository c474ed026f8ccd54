"""Results by the size of the selection that a group was trained on, one curve per way to select."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from mmssr_jax.report.blocks import Block, Chart, Charts
from mmssr_jax.report.inputs import Inputs
from mmssr_jax.report.svg_charts import Curve, lines

_SIZE_AND_CHANCE = ("budget", "budgets", "seed", "nested", "formats")  # settings that leave the way to select the same
_MAX_SERIES = 8
_MAX_CHARTS = 6

Points = dict[str, dict[int, list[float]]]  # series -> samples -> a value per run


def budget_blocks(inputs: Inputs, groups: Mapping[str, Mapping[str, Any]]) -> list[Block]:
    """A chart for the mean over all benchmarks and for each benchmark; nothing unless a series has two sizes.

    Args:
      inputs: the artefacts.
      groups: the groups of `results/comparison.json`.
    """
    placed = {name: _place(inputs, group["runs"]) for name, group in groups.items()}
    ways = list(dict.fromkeys(p[0] for p in placed.values() if p is not None))
    sizes = {way: {p[1] for p in placed.values() if p is not None and p[0] == way} for way in ways}
    if not any(len(found) > 1 for found in sizes.values()):
        return []
    names = _names(ways)[:_MAX_SERIES]
    benchmarks = list(next(iter(groups.values()))["benchmarks"])
    measures = (["all"] if len(benchmarks) > 1 else []) + benchmarks
    charts = []
    for measure in measures[:_MAX_CHARTS]:
        points: Points = {}
        for name, place in placed.items():
            if place is not None:
                values = {**groups[name]["averages"], **groups[name]["benchmarks"]}[measure]["values"]
                points.setdefault(place[0], {}).setdefault(place[1], []).extend(values)
        curves = [points.get(way, {}) for way in ways[:_MAX_SERIES]]
        title = "mean of all" if measure == "all" else measure
        raw = [_runs(c) for c in curves]
        svg = lines([_means(c) for c in curves], raw=raw, zero=False, label=f"{title} by samples")
        charts.append(Chart(title, svg))
    note = "By the number of samples trained on: a dot is a run, a line the mean. The axes need not begin at zero."
    return [Charts(charts, names, title="By budget", note=note, size="wide")]


def _place(inputs: Inputs, runs: list[str]) -> tuple[str, int] | None:
    """The way to select (its settings as JSON) and the size, if all runs of a group have them in common."""
    phases = inputs.config.get("train", {}).get("phases", {})
    places = set()
    for run in runs:
        name = phases.get(run, {}).get("selection")
        if name not in inputs.selections:
            return None
        settings = inputs.selection_manifest(name)["config"].get("selection", {})
        way = {key: value for key, value in settings.items() if key not in _SIZE_AND_CHANCE}
        places.add((json.dumps(way, sort_keys=True), inputs.selections[name].num_rows))
    return places.pop() if len(places) == 1 else None


def _names(ways: list[str]) -> list[str]:
    """The methods; numbered where one has several settings."""
    methods = [str(json.loads(way).get("method", "selection")) for way in ways]
    return [m if methods.count(m) == 1 else f"{m} {methods[: i + 1].count(m)}" for i, m in enumerate(methods)]


def _means(points: Mapping[int, list[float]]) -> Curve:
    sizes = sorted(points)
    return np.array(sizes, float), np.array([np.mean(points[size]) for size in sizes])


def _runs(points: Mapping[int, list[float]]) -> Curve:
    pairs = [(float(size), value) for size in sorted(points) for value in points[size]]
    return np.array([p[0] for p in pairs]), np.array([p[1] for p in pairs])
