"""Comparison of groups over replicates: paired differences, Holm's correction, the primary endpoint, the gain split.

The field `replicates` of `results/comparison.json`:

    names                           of the replicates
    baseline, family                the group that the others are compared with; measures that are adjusted together
    unpaired                        groups without a replicate in common with the baseline, which are not compared
    comparisons.<group>.<measure>   {mean, low, high: of the group minus the baseline, paired inside a replicate, with
                                    the 95 % t interval over replicates; p: of the t-test; replicates: number of pairs;
                                    p_holm: of measures in `family`, adjusted over the comparisons of all groups and the
                                    split's `scores` in all these measures}
    primary                         the endpoint that the config names: {group, baseline, measure, and a comparison;
                                    p is not adjusted, observed_deviation: of the differences over replicates}
    primary.power                   {effect, deviation, power: as configured; replicates_needed: to find the effect with
                                    that probability; probability: of finding it with the replicates there are;
                                    replicates_needed_observed: with the observed deviation, null if that is unknown
                                    or the number exceeds 100,000}
    split                           {method, matched, random, measures.<measure>: {gain: method - random,
                                    mixture: matched - random, scores: method - matched; each a comparison}}

Runs of one group and replicate are averaged. A comparison uses the replicates in which all its groups have a run.

Measures of a run:

    <benchmark>                     its metric, over questions
    <benchmark>/skills              the mean of the metric over the benchmark's categories
    <benchmark>/<ranked measure>    such as nll and acc_norm; ranking.py lists them. nll is lower where better
    <average>                       "all" and the configured averages, in percent
    <average>/skills, /<ranked>     the same average of these parts (of ranked measures if every benchmark has them)
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mmssr_jax.core.errors import UserError
from mmssr_jax.core.json_format import json_numbers
from mmssr_jax.evaluation.comparison import ALL, Scores, average_percents, run_averages
from mmssr_jax.evaluation.config import EvaluateConfig, PrimaryConfig, SplitConfig
from mmssr_jax.evaluation.ranking import MEASURES
from mmssr_jax.evaluation.replicates import (
    Interval,
    gain_split,
    holm,
    paired_difference,
    power,
    replicates_needed,
)
from mmssr_jax.evaluation.score import Score, by_group

SKILLS = "skills"

Measures = Mapping[str, Mapping[str, float]]  # run -> measure -> value


def run_measures(scores: Mapping[str, Score], averages: Mapping[str, Sequence[str]]) -> dict[str, float]:
    """All measures of one run; the module docstring lists them.

    Args:
      scores: by benchmark.
      averages: name -> benchmarks, or averages defined before it.
    """
    skills = {name: _over_skills(score) for name, score in scores.items()}
    result = {name: score.value() for name, score in scores.items()} | run_averages(scores, averages)
    result |= {f"{name}/{SKILLS}": value for name, value in skills.items()}
    parts = {SKILLS: {name: 100 * value / scores[name].scale for name, value in skills.items()}}
    for name, score in scores.items():
        for variant, part in score.variants.items():
            result[f"{name}/{variant}"] = part.value()
            parts.setdefault(variant, {})[name] = result[f"{name}/{variant}"]
    for part_name, values in parts.items():
        if len(values) == len(scores):
            means = average_percents({name: np.array(value) for name, value in values.items()}, averages)
            result |= {f"{name}/{part_name}": float(value) for name, value in means.items()}
    return result


def _over_skills(score: Score) -> float:
    """The mean over categories; of a sum over categories, or without categories, the metric itself."""
    categories = by_group(score, "category")
    if score.stratified or not categories:
        return score.value()
    return float(np.mean([entry["value"] for entry in categories.values()]))


def check_replicates(config: EvaluateConfig) -> None:
    """Checks the names of replicates, groups and measures, before anything is computed.

    Raises:
      UserError: a run is in two replicates or in no group, or a group or measure does not exist.
    """
    grouped = {run for runs in config.groups.values() for run in runs}
    replicate_of: dict[str, str] = {}
    for name, runs in config.replicates.items():
        for run in runs:
            if run not in grouped:
                raise UserError(
                    f"config.evaluate.replicates.{name}: run {run!r} is in no group of config.evaluate.groups"
                )
            if run in replicate_of:
                raise UserError(f"config.evaluate.replicates: run {run!r} is in {replicate_of[run]!r} and in {name!r}")
            replicate_of[run] = name
    for field, settings in (("primary", _primary_groups(config.primary)), ("split", _split_groups(config.split))):
        unknown = [name for name in settings if name not in config.groups]
        if unknown:
            raise UserError(
                f"config.evaluate.{field}: {unknown[0]!r} is not a group; groups are {', '.join(config.groups)}"
            )
        if settings and not _common(config, settings):
            raise UserError(f"config.evaluate.{field}: {', '.join(settings)} have no replicate in common")
    bases, parts = {ALL, *config.averages, *config.benchmarks}, {SKILLS, *MEASURES}
    for measure in _family(config) + ([config.primary.measure] if config.primary is not None else []):
        base, _, part = measure.partition("/")
        if base not in bases or (part and part not in parts):
            raise UserError(
                f"config.evaluate: {measure!r} is not a measure; expected NAME or NAME/PART, where NAME is one of "
                f"{', '.join(sorted(bases))} and PART one of {', '.join(sorted(parts))}"
            )


def power_statement(config: EvaluateConfig) -> str | None:
    """How many replicates the effect of the primary endpoint needs, as a sentence; None if no effect is configured.

    Raises:
      UserError: it needs more than 100,000.
    """
    primary = config.primary
    if primary is None or primary.effect is None:
        return None
    result = _power(primary, len(_common(config, _primary_groups(primary))), None)
    return (
        f"primary endpoint: {primary.group} - {primary.baseline} on {primary.measure}; an effect of {primary.effect:g} "
        f"with a deviation of {primary.deviation:g} over replicates is found with probability {primary.power:g} by "
        f"{result['replicates_needed']} replicates; there are {result['replicates']}, which find it with probability "
        f"{result['probability']:.2f}"
    )


def compare_replicates(scores: Scores, config: EvaluateConfig) -> dict[str, Any]:
    """The field `replicates` of `results/comparison.json`; the module docstring describes it.

    Args:
      scores: run -> benchmark -> score.
      config: replicates, groups, baseline, family, primary and split, checked by `check_replicates`.

    Raises:
      UserError: a run lacks a measure of the family or of the primary endpoint.
    """
    runs = {run for members in config.replicates.values() for run in members}
    values = {run: run_measures(scores[run], config.averages) for run in sorted(runs)}
    result: dict[str, Any] = {
        "names": list(config.replicates), "baseline": config.baseline, "family": _family(config), "unpaired": [],
        "comparisons": {},
    }  # fmt: skip
    if config.baseline is not None:
        others = [name for name in config.groups if name != config.baseline]
        result["unpaired"] = [name for name in others if not _common(config, (name, config.baseline))]
        result["comparisons"] = {
            group: _comparison(values, config, group, config.baseline)
            for group in others
            if group not in result["unpaired"]
        }
    if config.split is not None:
        result["split"] = _split(values, config, config.split)
    _adjust(result)
    if config.primary is not None:
        result["primary"] = _primary(values, config, config.primary)
    return dict(json_numbers(result))


def _adjust(result: dict[str, Any]) -> None:
    """Adds `p_holm` to the comparisons of the family."""
    members = {
        f"{group} {measure}": _of(measure, comparison)
        for group, comparison in result["comparisons"].items()
        for measure in result["family"]
    }
    if "split" in result:
        measures = result["split"]["measures"]
        members |= {f"split {measure}": _of(measure, measures)["scores"] for measure in result["family"]}
    for name, p in holm({name: entry["p"] for name, entry in members.items()}).items():
        members[name]["p_holm"] = p


def _primary_groups(primary: PrimaryConfig | None) -> tuple[str, ...]:
    return () if primary is None else (primary.group, primary.baseline)


def _split_groups(split: SplitConfig | None) -> tuple[str, ...]:
    return () if split is None else (split.method, split.matched, split.random)


def _family(config: EvaluateConfig) -> list[str]:
    return list(config.family) or [config.primary.measure if config.primary is not None else ALL]


def _common(config: EvaluateConfig, groups: Sequence[str]) -> list[str]:
    """The replicates in which every group has a run."""
    return [name for name, runs in config.replicates.items() if all(set(runs) & set(config.groups[g]) for g in groups)]


def _paired(values: Measures, config: EvaluateConfig, groups: Sequence[str]) -> dict[str, list[np.ndarray]]:
    """Measure -> one float [R] per group, over their R common replicates; only measures that all their runs have."""
    names = _common(config, groups)
    members = [[[r for r in config.replicates[n] if r in config.groups[g]] for n in names] for g in groups]
    runs = [run for group in members for replicate in group for run in replicate]
    measures = [m for m in values[runs[0]] if all(m in values[run] for run in runs)]
    return {
        m: [np.array([np.mean([values[run][m] for run in replicate]) for replicate in group]) for group in members]
        for m in measures
    }


def _comparison(values: Measures, config: EvaluateConfig, group: str, baseline: str) -> dict[str, dict[str, Any]]:
    pairs = _paired(values, config, (group, baseline))
    return {measure: _entry(paired_difference(*sides)) for measure, sides in pairs.items()}


def _entry(interval: Interval) -> dict[str, Any]:
    return dataclasses.asdict(interval)


def _of(measure: str, comparison: Mapping[str, Any]) -> Any:
    if measure not in comparison:
        raise UserError(
            f"config.evaluate: not all runs have the measure {measure!r}; there are {', '.join(comparison)}"
        )
    return comparison[measure]


def _primary(values: Measures, config: EvaluateConfig, primary: PrimaryConfig) -> dict[str, Any]:
    first, second = _of(primary.measure, _paired(values, config, _primary_groups(primary)))
    deviation = float(np.std(first - second, ddof=1)) if len(first) > 1 else None
    names = {"group": primary.group, "baseline": primary.baseline, "measure": primary.measure}
    result = {**names, **_entry(paired_difference(first, second)), "observed_deviation": deviation}
    return result if primary.effect is None else {**result, "power": _power(primary, len(first), deviation)}


def _power(primary: PrimaryConfig, replicates: int, observed: float | None) -> dict[str, Any]:
    """The field `primary.power`."""
    assert primary.effect is not None
    assert primary.deviation is not None
    try:
        needed = replicates_needed(primary.effect, primary.deviation, wanted=primary.power)
    except ValueError as e:
        raise UserError(f"config.evaluate.primary: {e}") from None
    try:
        by_observed = replicates_needed(primary.effect, observed, wanted=primary.power) if observed else None
    except ValueError:  # over 100,000
        by_observed = None
    return {
        "effect": primary.effect, "deviation": primary.deviation, "power": primary.power,
        "replicates_needed": needed, "replicates": replicates,
        "probability": power(primary.effect, primary.deviation, replicates),
        "replicates_needed_observed": by_observed,
    }  # fmt: skip


def _split(values: Measures, config: EvaluateConfig, split: SplitConfig) -> dict[str, Any]:
    triples = _paired(values, config, _split_groups(split))
    measures = {m: {name: _entry(i) for name, i in gain_split(*sides).items()} for m, sides in triples.items()}
    return {"method": split.method, "matched": split.matched, "random": split.random, "measures": measures}
