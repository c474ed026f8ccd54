"""Numbers about several runs: means over seeds, differences from a baseline, the papers' derived columns.

`results/comparison.json`:

    baseline, full        names of groups, or null
    groups.<group>        runs: their names
                          benchmarks.<name>: {metric, values: one a run, mean, sd: over the runs, null for one run}
                          averages.<name>: the same, of percentages; "all" is the mean over every benchmark
                          over_full: mean over the benchmarks of 100 x mean / full's ("/FULL"), null by a 0
                          better_than_baseline: {count, of}: benchmarks whose mean is above the baseline's (">Rand")
    differences.<group>   <benchmark or average>: {mean: group's minus baseline's,
                          standard_error: over the runs of both, null where either has one,
                          lowest, highest: over all pairs of a run and a baseline run,
                          interval: 95 % over the questions, drawn anew, for all runs alike}

A standard error or a range speaks of the seeds, an interval of the questions; a gain needs to stand against both.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mmssr_jax.core.errors import UserError
from mmssr_jax.evaluation.score import Score, draw_weights, percentiles, rounded

ALL = "all"

Scores = Mapping[str, Mapping[str, Score]]  # run -> benchmark -> score


def compare(
    scores: Scores, *, groups: Mapping[str, Sequence[str]], averages: Mapping[str, Sequence[str]], baseline: str | None,
    full: str | None, seed: int,
) -> dict[str, Any]:  # fmt: skip
    """The content of `results/comparison.json`; see the module's head.

    Args:
      scores: every run on the same benchmarks.
      groups: name -> runs that differ by their seed alone.
      averages: name -> benchmarks, or averages named before it (MMBase: of three category averages).
      baseline: the group that others are compared with.
      full: the group that was trained on all data.
      seed: of the draws of questions.

    Raises:
      UserError: a name that is not there.
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
    return rounded(result)


def check_names(
    runs: Sequence[str], benchmarks: Sequence[str], *, groups: Mapping[str, Sequence[str]],
    averages: Mapping[str, Sequence[str]], baseline: str | None, full: str | None,
) -> None:  # fmt: skip
    """Refuses groups of runs and averages of benchmarks that are not there, before anything is computed.

    Raises:
      UserError: a name that is not there, or is there twice.
    """
    for name, members in groups.items():
        if not members:
            raise UserError(f"group {name!r} names no run")
        absent = [run for run in members if run not in runs]
        if absent:
            raise UserError(f"group {name!r}: {', '.join(absent)} is not evaluated; runs are {', '.join(runs)}")
    for what, wanted in (("baseline", baseline), ("full", full)):
        if wanted is not None and wanted not in groups:
            raise UserError(f"{what}={wanted!r} is no group; groups are {', '.join(groups)}")
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
    """ "all" and the averages asked for of one run, in percent: `averages` of `results/<run>.json`."""
    percents = {name: np.array(score.percent()) for name, score in scores.items()}
    return {name: float(value) for name, value in _averages(percents, averages).items()}


def _averages(percents: Mapping[str, np.ndarray], averages: Mapping[str, Sequence[str]]) -> dict[str, np.ndarray]:
    """ "all" and the averages asked for, of one run's numbers or of draws of them."""
    found = {ALL: np.mean(list(percents.values()), axis=0)}
    for name, members in averages.items():
        found[name] = np.mean([found[m] if m in found else percents[m] for m in members], axis=0)
    return found


def _over(group: Mapping[str, Any], full: Mapping[str, Any]) -> float | None:
    if any(entry["mean"] == 0 for entry in full.values()):
        return None
    return float(np.mean([100 * entry["mean"] / full[b]["mean"] for b, entry in group.items()]))


def _differences(
    scores: Scores, groups: Mapping[str, Any], pair: tuple[str, str], averages: Mapping[str, Sequence[str]], seed: int
) -> dict[str, Any]:
    """Of the first group from the second: for every average and benchmark."""
    first, second = (groups[name] for name in pair)
    draws, percents = {}, {}
    for place, name in enumerate(first["benchmarks"]):
        sides = [[scores[run][name] for run in group["runs"]] for group in (first, second)]
        draws[name] = _drawn_difference(*sides, seed=(seed, place))
        percents[name] = 100 * draws[name] / sides[0][0].scale
    draws |= _averages(percents, averages)
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


def blind_gain(seeing: Score, blind: Score, *, seed: int) -> dict[str, Any]:
    """What a run gains by seeing the pictures: `blind` of an entry in `results/<run>.json`; see runner.py."""
    gains = percentiles(_drawn_difference([seeing], [blind], seed=(seed,)))
    value = blind.value()
    return rounded({"value": value, "gain": seeing.value() - value, "interval": list(gains)})


def _drawn_difference(group: Sequence[Score], other: Sequence[Score], *, seed: tuple[int, ...]) -> np.ndarray:
    """Differences of the groups' means over questions drawn anew, the same draw for every run; [draws]."""
    if len({tuple(unit.fields.get("index") for unit in score.units) for score in [*group, *other]}) > 1:
        raise UserError("runs were asked different questions; evaluate them with the same benchmark file")
    numbers = []
    for weights in draw_weights(group[0], seed=seed):
        first, second = (np.mean([s.aggregate(weights, s.units) for s in side], axis=0) for side in (group, other))
        numbers.append(first - second)
    return np.concatenate(numbers)
