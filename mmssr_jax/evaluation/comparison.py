"""Comparison of groups of runs: means over seeds, differences from a baseline, and the papers' derived columns.

`results/comparison.json`:

    baseline, full        names of groups, or null
    groups.<group>        runs: their names
                          benchmarks.<name>: {metric, values: one per run, mean, sd: over the runs, null for one run}
                          averages.<name>: the same for percentages; "all" is the mean over every benchmark
                          over_full: mean over the benchmarks of 100 x mean / full's mean ("/FULL"), null if one is 0
                          better_than_baseline: {count, of}: benchmarks whose mean is above the baseline's (">Rand")
    differences.<group>   <benchmark or average>: {mean: of the group minus the baseline,
                          standard_error: over the runs of both, null if either has one run,
                          lowest, highest: over all pairs of a run and a baseline run,
                          interval: 95 % bootstrap over the questions, the same resamples for all runs}
    cost                  if there is a full group; break_even.py describes it. Its seconds differ between equal runs
    replicates            if replicates are configured; replicate_comparison.py describes it

The standard error and the range measure variation over seeds, the interval variation over questions; a significant
gain exceeds both.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mmssr_jax.core.errors import UserError
from mmssr_jax.core.json_format import json_numbers
from mmssr_jax.evaluation.score import Score, bootstrap_weights, percentiles

ALL = "all"

Scores = Mapping[str, Mapping[str, Score]]  # run -> benchmark -> score


def compare(
    scores: Scores, *, groups: Mapping[str, Sequence[str]], averages: Mapping[str, Sequence[str]], baseline: str | None,
    full: str | None, seed: int,
) -> dict[str, Any]:  # fmt: skip
    """The content of `results/comparison.json`; the module docstring lists its fields.

    Args:
      scores: run -> benchmark -> score; every run has the same benchmarks.
      groups: name -> runs that differ only by their seed.
      averages: name -> benchmarks, or averages defined before it (MMBase averages three category averages).
      baseline: the group that the others are compared with, or None.
      full: the group trained on all data, or None.
      seed: seed of the bootstrap over questions.

    Raises:
      UserError: an unknown name.
    """
    check_names(
        list(scores), list(next(iter(scores.values()))), groups=groups, averages=averages, baseline=baseline, full=full
    )
    result: dict[str, Any] = {"baseline": baseline, "full": full, "groups": {}, "differences": {}}
    for name, runs in groups.items():
        benchmarks = {b: _benchmark([scores[run][b] for run in runs]) for b in scores[runs[0]]}
        means = [run_averages(scores[run], averages) for run in runs]
        result["groups"][name] = {
            "runs": list(runs),
            "benchmarks": benchmarks,
            "averages": {a: _spread([m[a] for m in means]) for a in means[0]},
        }
    for name, group in result["groups"].items():
        if full is not None:
            group["over_full"] = _over(group["benchmarks"], result["groups"][full]["benchmarks"])
        if baseline is not None and name != baseline:
            other = result["groups"][baseline]
            above = [b for b, e in group["benchmarks"].items() if e["mean"] > other["benchmarks"][b]["mean"]]
            group["better_than_baseline"] = {"count": len(above), "of": len(group["benchmarks"])}
            result["differences"][name] = _differences(scores, result["groups"], (name, baseline), averages, seed)
    return json_numbers(result)


def check_names(
    runs: Sequence[str], benchmarks: Sequence[str], *, groups: Mapping[str, Sequence[str]],
    averages: Mapping[str, Sequence[str]], baseline: str | None, full: str | None,
) -> None:  # fmt: skip
    """Checks that groups and averages refer to existing runs and benchmarks, before anything is computed.

    Raises:
      UserError: an unknown or duplicate name.
    """
    for name, members in groups.items():
        if not members:
            raise UserError(f"group {name!r} has no runs")
        absent = [run for run in members if run not in runs]
        if absent:
            raise UserError(f"group {name!r}: {', '.join(absent)} is not evaluated; runs are {', '.join(runs)}")
    for field, group in (("baseline", baseline), ("full", full)):
        if group is not None and group not in groups:
            raise UserError(f"{field}={group!r} is not a group; groups are {', '.join(groups)}")
    known = {ALL, *benchmarks}
    for name, members in averages.items():
        if name in known:
            raise UserError(f"average {name!r}: the name is taken")
        absent = [member for member in members if member not in known]
        if absent or not members:
            wrong = ", ".join(absent) or "given"
            raise UserError(f"average {name!r}: no benchmark, nor an average before it, is {wrong}")
        known.add(name)


def _spread(values: Sequence[float]) -> dict[str, Any]:
    """Mean and sample standard deviation (n - 1)."""
    sd = float(np.std(values, ddof=1)) if len(values) > 1 else None
    return {"values": list(values), "mean": float(np.mean(values)), "sd": sd}


def _benchmark(scores: Sequence[Score]) -> dict[str, Any]:
    return {"metric": scores[0].metric, **_spread([score.value() for score in scores])}


def run_averages(scores: Mapping[str, Score], averages: Mapping[str, Sequence[str]]) -> dict[str, float]:
    """ "all" and the configured averages of one run, in percent: `averages` of `results/<run>.json`."""
    percents = {name: np.array(score.percent()) for name, score in scores.items()}
    return {name: float(value) for name, value in average_percents(percents, averages).items()}


def average_percents(
    percents: Mapping[str, np.ndarray], averages: Mapping[str, Sequence[str]]
) -> dict[str, np.ndarray]:
    """ "all" and the configured averages of one run's percentages, `[]`, or of bootstrap resamples of them, `[b]`."""
    result = {ALL: np.mean(list(percents.values()), axis=0)}
    for name, members in averages.items():
        result[name] = np.mean([result[m] if m in result else percents[m] for m in members], axis=0)
    return result


def _over(group: Mapping[str, Any], full: Mapping[str, Any]) -> float | None:
    if any(entry["mean"] == 0 for entry in full.values()):
        return None
    return float(np.mean([100 * entry["mean"] / full[b]["mean"] for b, entry in group.items()]))


def _differences(
    scores: Scores, groups: Mapping[str, Any], pair: tuple[str, str], averages: Mapping[str, Sequence[str]], seed: int
) -> dict[str, Any]:
    """The difference of the first group from the second, for every average and benchmark."""
    first, second = (groups[name] for name in pair)
    draws, percents = {}, {}
    for position, name in enumerate(first["benchmarks"]):
        sides = [[scores[run][name] for run in group["runs"]] for group in (first, second)]
        draws[name] = _resampled_difference(*sides, seed=(seed, position))
        percents[name] = 100 * draws[name] / sides[0][0].scale
    draws |= average_percents(percents, averages)
    entries = {name: [g["averages"][name] for g in (first, second)] for name in first["averages"]}
    entries |= {name: [g["benchmarks"][name] for g in (first, second)] for name in first["benchmarks"]}
    return {
        name: {**_difference(*sides), "interval": list(percentiles(draws[name]))} for name, sides in entries.items()
    }


def _difference(group: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    pairs = [a - b for a in group["values"] for b in other["values"]]
    error = None
    if group["sd"] is not None and other["sd"] is not None:
        error = math.sqrt(group["sd"] ** 2 / len(group["values"]) + other["sd"] ** 2 / len(other["values"]))
    return {
        "mean": group["mean"] - other["mean"],
        "standard_error": error,
        "lowest": min(pairs),
        "highest": max(pairs),
    }


def no_image_gain(with_images: Score, no_image: Score, *, seed: int) -> dict[str, Any]:
    """The gain of a run over its no-image baseline: the field `blind` in `results/<run>.json`; see runner.py."""
    gains = percentiles(_resampled_difference([with_images], [no_image], seed=(seed,)))
    value = no_image.value()
    return json_numbers({"value": value, "gain": with_images.value() - value, "interval": list(gains)})


def _resampled_difference(group: Sequence[Score], other: Sequence[Score], *, seed: tuple[int, ...]) -> np.ndarray:
    """Differences of the groups' means over bootstrap resamples of the questions, the same for every run: `[b]`."""
    if len({tuple(unit.fields.get("index") for unit in score.units) for score in [*group, *other]}) > 1:
        raise UserError("runs answered different questions; evaluate them with the same benchmark file")
    differences = []
    for weights in bootstrap_weights(group[0], seed=seed):
        first, second = (np.mean([s.aggregate(weights, s.units) for s in side], axis=0) for side in (group, other))
        differences.append(first - second)
    return np.concatenate(differences)
