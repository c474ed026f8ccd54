"""Benchmark results of the trained models: each selection against the baseline and against the start model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from mmssr_jax.core.saved import check_fields, read_saved
from mmssr_jax.report.blocks import Block, Dot, Fold, Grid, KeyFigure, Note, Section, Table, Track, Tracks
from mmssr_jax.report.inputs import Inputs, ReportConfig
from mmssr_jax.report.numbers import NONE, count, fixed, format_interval, signed
from mmssr_jax.report.sections.budget_curves import budget_blocks
from mmssr_jax.report.sections.capability_radar import radar_blocks
from mmssr_jax.report.sections.replicate_statistics import replicate_blocks, replicate_notes
from mmssr_jax.report.sections.selection_cost import cost_blocks
from mmssr_jax.report.sections.significance import HIGHER, LOWER, verdict
from mmssr_jax.report.sections.training_gain import as_group, gain_notes, start_results
from mmssr_jax.report.svg_charts import nice_ticks

COMPARISON = "comparison"
ALL = "all"
MAX_PLOTS = 6
_TONES: dict[str, Literal["good", "bad"]] = {HIGHER: "good", LOWER: "bad"}


def downstream_section(inputs: Inputs, config: ReportConfig) -> Section:
    """The downstream section."""
    title = "Downstream"
    runs, comparison = run_results(inputs), inputs.results(COMPARISON)
    if not runs and comparison is None:
        missing = ["Nothing evaluated yet: the evaluate stage writes results/<run>.json."]
        return Section("downstream", title, "", missing=missing)
    blocks: list[Block] = []
    missing, summary = [], []
    headline = None
    if comparison is not None and comparison["groups"]:
        headline = _headline(comparison)
        summary = [Note(_sentence(comparison, n), "finding") for n in _compared(comparison)]
        gains, missing = gain_notes(inputs, comparison)
        summary += gains
    replicates = comparison.get("replicates") if comparison is not None else None
    if replicates is not None:
        summary = replicate_notes(replicates) + summary
    blocks += summary
    if comparison is not None and comparison["groups"]:
        blocks += _comparison(inputs, comparison)
        blocks += cost_blocks(comparison["cost"]) if "cost" in comparison else []
    elif replicates is None:
        missing.append("No comparison over seeds yet: results/comparison.json does not exist or has no groups.")
    blocks += replicate_blocks(replicates) if replicates is not None else []
    if runs:
        blocks += [_results(runs), Fold("Categories", [_categories(runs)])]
    lead = "Results of the models trained on the selections, on questions that no pool contains."
    return Section("downstream", title, lead, blocks, missing, headline, summary)


def run_results(inputs: Inputs) -> dict[str, Mapping[str, Any]]:
    """Run -> benchmark -> result, of every evaluated run."""
    results = {}
    for path in sorted(inputs.workdir.all_results.glob("*.json")):
        result = read_saved(path, {}, stage="evaluate")
        if "run" in result and "benchmarks" in result:
            check_fields(result, {"run": str, "benchmarks": dict}, path, stage="evaluate")
            results[result["run"]] = result["benchmarks"]
    return results


def _ordered(comparison: Mapping[str, Any]) -> list[str]:
    """The groups: first the compared ones, then the baseline, then the full pool."""
    last = [n for n in (comparison["baseline"], comparison["full"]) if n is not None]
    return [*(n for n in comparison["groups"] if n not in last), *last]


def _compared(comparison: Mapping[str, Any]) -> list[str]:
    """The groups that have differences from the baseline, in order."""
    return [n for n in _ordered(comparison) if n in comparison["differences"]]


def _measures(group: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """Averages and benchmarks of a group; the average of a single benchmark is omitted."""
    averages = group["averages"] if len(group["benchmarks"]) > 1 else {}
    return {**{_name(a): v for a, v in averages.items()}, **group["benchmarks"]}


def _name(measure: str) -> str:
    return "mean of all" if measure == ALL else measure


def _comparison(inputs: Inputs, comparison: Mapping[str, Any]) -> list[Block]:
    """The groups, with the models that they were trained from beside them."""
    measures = list(_measures(comparison["groups"][_ordered(comparison)[0]]))
    starts = {f"start model {init}": as_group(result) for init, result in start_results(inputs, comparison).items()}
    starts = {name: group for name, group in starts.items() if set(measures) <= _measures(group).keys()}
    shown = {**comparison, "groups": {**comparison["groups"], **starts}}
    names = [*_ordered(comparison), *starts]
    plots = [_plot(shown, names, m) for m in measures[:MAX_PLOTS]]
    blocks: list[Block] = [plots[0]] if len(plots) == 1 else [Grid(plots)] if plots else []
    blocks.append(_group_table(shown, names, measures))
    if comparison["differences"]:
        blocks.append(_difference_table(comparison))
    blocks += budget_blocks(inputs, comparison["groups"])
    members = {name: comparison["groups"][name]["runs"] for name in _ordered(comparison)}
    members |= {f"start model {init}": [init] for init in start_results(inputs, comparison)}
    return blocks + radar_blocks(run_results(inputs), members)


def _main_difference(comparison: Mapping[str, Any], group: str) -> tuple[str, Mapping[str, Any]]:
    """The main result: the mean over all benchmarks, or the only benchmark."""
    benchmarks = list(comparison["groups"][group]["benchmarks"])
    measure = benchmarks[0] if len(benchmarks) == 1 else ALL
    return measure, comparison["differences"][group][measure]


def _sentence(comparison: Mapping[str, Any], group: str) -> str:
    measure, d = _main_difference(comparison, group)
    baseline = comparison["baseline"]
    entries = [_measures(comparison["groups"][g])[_name(measure)] for g in (group, baseline)]
    seeds = " and ".join(count(len(e["values"])) for e in entries)
    error = NONE if d["standard_error"] is None else fixed(d["standard_error"])
    return (
        f"{group} reaches {fixed(entries[0]['mean'])}, {baseline} {fixed(entries[1]['mean'])} ({_name(measure)}): a "
        f"difference of {signed(d['mean'])}, standard error {error} over {seeds} seeds, single pairs of runs from "
        f"{signed(d['lowest'])} to {signed(d['highest'])}: {verdict(d)}."
    )


def _headline(comparison: Mapping[str, Any]) -> KeyFigure | None:
    if not comparison["differences"]:
        return None
    group = next((g for g in comparison["differences"] if "mmssr" in g.lower()), next(iter(comparison["differences"])))
    _, d = _main_difference(comparison, group)
    error = "one seed" if d["standard_error"] is None else f"± {fixed(d['standard_error'])}"
    label = f"{group} over {comparison['baseline']}"
    return KeyFigure(label, signed(d["mean"]), f"{error}; {verdict(d)}", _TONES.get(verdict(d), "neutral"))


def _plot(comparison: Mapping[str, Any], names: Sequence[str], measure: str) -> Tracks:
    entries = {n: _measures(comparison["groups"][n])[measure] for n in names}
    values = [v for e in entries.values() for v in e["values"]]
    ticks = nice_ticks(min(values), max(values), 4)
    low, high = ticks[0], ticks[-1]
    rows = []
    for i, (name, entry) in enumerate(entries.items()):
        dots = [Dot(min(i, 7), (v - low) / (high - low), fixed(v)) for v in entry["values"]]
        rows.append(Track(name, dots, _mean_and_deviation(entry)))
    scale = [((t - low) / (high - low), f"{t:g}") for t in ticks]
    return Tracks(rows, [], scale, title=f"{measure}, one dot per seed")


def _mean_and_deviation(entry: Mapping[str, Any]) -> str:
    return fixed(entry["mean"]) + ("" if entry["sd"] is None else f" ± {fixed(entry['sd'])}")


def _group_table(comparison: Mapping[str, Any], names: Sequence[str], measures: Sequence[str]) -> Table:
    full, baseline = comparison["full"] is not None, comparison["baseline"]
    rows = []
    for name in names:
        group = comparison["groups"][name]
        cells = [_mean_and_deviation(_measures(group)[m]) for m in measures]
        cells += [_wins(comparison, name)] if baseline is not None else []
        cells += [fixed(group.get("over_full"))] if full else []
        rows.append((name, count(len(group["runs"])) if group["runs"] else NONE, *cells))
    header = ["trained on", "seeds", *measures]
    header += [f"benchmarks with a higher mean than {baseline}"] if baseline is not None else []
    header += ["% of full"] if full else []
    return Table(
        header, rows, numeric=range(1, len(header)), title="Trained on each selection",
        note="Mean and standard deviation over the seeds.",
    )  # fmt: skip


def _wins(comparison: Mapping[str, Any], name: str) -> str:
    """The number of benchmarks with a higher mean than the baseline, and how many of these are significant."""
    better = comparison["groups"][name].get("better_than_baseline")
    if not better:
        return NONE
    differences = comparison["differences"][name]
    significant = sum(verdict(differences[b]) == HIGHER for b in comparison["groups"][name]["benchmarks"])
    return f"{better['count']} of {better['of']}, {significant} significantly"


def _difference_table(comparison: Mapping[str, Any]) -> Table:
    rows = []
    for group in _compared(comparison):
        single = len(comparison["groups"][group]["benchmarks"]) == 1
        for measure, d in comparison["differences"][group].items():
            if single and measure not in comparison["groups"][group]["benchmarks"]:
                continue
            error = NONE if d["standard_error"] is None else fixed(d["standard_error"])
            pairs = f"{signed(d['lowest'])} to {signed(d['highest'])}"
            questions = format_interval(d["interval"]) if "interval" in d else NONE
            rows.append((group, _name(measure), signed(d["mean"]), error, pairs, questions, verdict(d)))
    header = (
        "trained on",
        "measure",
        "difference",
        "standard error",
        "pairs of seeds",
        "95 % over questions",
        "verdict",
    )
    return Table(
        header, rows, numeric=(2, 3, 4, 5), title=f"Difference from {comparison['baseline']}",
        note="A difference is significant if it exceeds two standard errors over the seeds and its interval over the "
        "questions excludes zero.",
    )  # fmt: skip


def _results(runs: Mapping[str, Mapping[str, Any]]) -> Table:
    names = sorted({n for r in runs.values() for n in r})
    rows = []
    for run, benchmarks in runs.items():
        cells = []
        for name in names:
            entry = benchmarks.get(name)
            cells.append(f"{fixed(entry['value'])} ({format_interval(entry['interval'])})" if entry else NONE)
        rows.append((run, *cells))
    heads = [f"{n}, {_metric(runs, n)}" for n in names]
    return Table(
        ("run", *heads), rows, numeric=range(1, len(names) + 1), title="All runs",
        note="In parentheses: the 95 % interval over the questions of the benchmark.",
    )  # fmt: skip


def _metric(runs: Mapping[str, Mapping[str, Any]], name: str) -> str:
    entry = next(r[name] for r in runs.values() if name in r)
    return f"{entry['metric']}, n {count(entry['n'])}"


def _categories(runs: Mapping[str, Mapping[str, Any]]) -> Table:
    pairs = sorted({(b, c) for r in runs.values() for b, e in r.items() for c in e.get("categories", {})})
    rows = []
    for bench, category in pairs:
        entries = [r.get(bench, {}).get("categories", {}).get(category) for r in runs.values()]
        size = next(e["n"] for e in entries if e)
        rows.append((bench, category, count(size), *(fixed(e["value"]) if e else NONE for e in entries)))
    return Table(("benchmark", "category", "n", *runs), rows, numeric=range(2, len(runs) + 3))
