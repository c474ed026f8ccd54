"""Whether training gained over the start model, in words."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from mmssr_jax.report.blocks import KeyFigure, Note
from mmssr_jax.report.inputs import Inputs
from mmssr_jax.report.numbers import fixed, signed
from mmssr_jax.report.sections.significance import HIGHER, LOWER, UNKNOWN, verdict

_ALL = "all"
_DEFAULT_INIT = "base"  # of `config.train.phases.<run>.init`


def gain_notes(inputs: Inputs, comparison: Mapping[str, Any]) -> tuple[list[Note], list[str]]:
    """One note per start model, and a message per start model that was not evaluated."""
    notes, missing = [], []
    for init, names in _groups_by_init(inputs, comparison).items():
        result = inputs.results(init)
        if result is None:
            missing.append(
                f"Whether training gained is unknown: the start model {init} was not evaluated (config.evaluate.runs)."
            )
        else:
            notes.append(_note(init, result, {name: comparison["groups"][name] for name in names}))
    return notes, missing


def gain_headline(inputs: Inputs) -> KeyFigure | None:
    """The gain of a group over its start model; good if any group gained, bad if none did, neutral for single seeds.

    None without a comparison, or if no start model was evaluated.
    """
    comparison = inputs.results("comparison")
    starts = start_results(inputs, comparison) if comparison is not None else {}
    if comparison is None or not starts:
        return None
    init, result = next(iter(starts.items()))
    gains = {n: _gain(result, comparison["groups"][n]) for n in _groups_by_init(inputs, comparison)[init]}
    verdicts = [verdict(gain) for gain in gains.values()]
    group = next((name for name in gains if "mmssr" in name.lower()), next(iter(gains)))
    known = any(v != UNKNOWN for v in verdicts)
    tone: Literal["neutral", "good", "bad"] = "good" if HIGHER in verdicts else "bad" if known else "neutral"
    words = verdict(gains[group]) if not known else _conclusion(verdicts)
    return KeyFigure(f"{group} over its start", signed(gains[group]["mean"]), words, tone)


def start_results(inputs: Inputs, comparison: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """The results of the start models of the groups, of those that were evaluated."""
    results = {init: inputs.results(init) for init in _groups_by_init(inputs, comparison)}
    return {init: result for init, result in results.items() if result is not None}


def as_group(result: Mapping[str, Any]) -> dict[str, Any]:
    """The results of one model in the form of a group of `results/comparison.json`, without runs."""
    benchmarks = {
        name: {"metric": entry["metric"], **_single(entry["value"])} for name, entry in result["benchmarks"].items()
    }
    averages = {name: _single(value) for name, value in result.get("averages", {}).items()}
    return {"runs": [], "benchmarks": benchmarks, "averages": averages}


def _single(value: float) -> dict[str, Any]:
    return {"values": [value], "mean": value, "sd": None}


def _groups_by_init(inputs: Inputs, comparison: Mapping[str, Any]) -> dict[str, list[str]]:
    """Start model -> the groups trained from it."""
    by_init: dict[str, list[str]] = {}
    for name, group in comparison["groups"].items():
        init = _init(inputs, group["runs"])
        if init is not None:
            by_init.setdefault(init, []).append(name)
    return by_init


def _init(inputs: Inputs, runs: list[str]) -> str | None:
    """The model that all runs of a group were trained from; None if they differ or one is not a run of config.train."""
    phases = inputs.config.get("train", {}).get("phases", {})
    inits = {phases[run].get("init", _DEFAULT_INIT) if run in phases else None for run in runs}
    return inits.pop() if len(inits) == 1 else None


def _note(init: str, result: Mapping[str, Any], groups: Mapping[str, Mapping[str, Any]]) -> Note:
    gains = {name: _gain(result, group) for name, group in groups.items()}
    verdicts = {name: verdict(gain) for name, gain in gains.items()}
    gained = sum(v == HIGHER for v in verdicts.values())
    extent = f" in {gained} of {len(verdicts)} groups" if 0 < gained < len(verdicts) else ""
    measure, value = _measure(result)
    changes = ", ".join(f"{name} {signed(gains[name]['mean'])} ({verdicts[name]})" for name in groups)
    return Note(
        f"{_conclusion(list(verdicts.values()))} {init} ({fixed(value)}, {measure}){extent}: {changes}.",
        "finding" if gained else "alarm",
    )


def _conclusion(verdicts: Sequence[str]) -> str:
    """The verdicts of all groups of a start model in words."""
    if HIGHER in verdicts:
        return "Training gained over the start model"
    if all(v == LOWER for v in verdicts):
        return "Training lost against the start model"
    return "Training did not measurably gain over the start model"


def _measure(result: Mapping[str, Any]) -> tuple[str, float]:
    """The name and value of the only benchmark, or of the mean over all."""
    benchmarks = result["benchmarks"]
    if len(benchmarks) == 1:
        ((name, entry),) = benchmarks.items()
        return name, entry["value"]
    return "mean of all", result["averages"][_ALL]


def _gain(result: Mapping[str, Any], group: Mapping[str, Any]) -> dict[str, Any]:
    """The difference of a group from its start model, in the form that `verdict` takes.

    The interval over the questions is that of the start model's score, which is known for a single benchmark only.
    """
    _, value = _measure(result)
    single = len(result["benchmarks"]) == 1
    entry = next(iter(group["benchmarks"].values())) if single else group["averages"][_ALL]
    gain = entry["mean"] - value
    error = None if entry["sd"] is None else entry["sd"] / math.sqrt(len(entry["values"]))
    difference = {"mean": gain, "standard_error": error}
    if single:
        low, high = next(iter(result["benchmarks"].values()))["interval"]
        difference["interval"] = [gain - (high - value), gain + (value - low)]
    return difference
