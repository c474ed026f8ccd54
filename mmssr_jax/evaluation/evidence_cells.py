"""Results of single training runs of an experiment, small enough to commit: what each was trained on, what it can do.

    a workdir per replicate and variant ──read_cell──> FOLDER/<family>/<replicate>.json ──read_results──> tables

A cell is named VARIANT/ARM. A file holds

    replicate, config   its number; the fingerprint of the family's configs, with the seeds of replicate 0
    libraries           versions of the packages that can change a result
    cells               name -> the fields of `ArmResult`
    scorers             name -> {inputs, and the numbers of `scorer_numbers`}
    stages              variant -> stage -> seconds

`inputs` is the fingerprint of all settings that a cell depends on, so that the file tells which cells need not be run
again. Seconds are those of the machine that ran it; everything else is the same on every run of the same versions.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.compute as pc

from mmssr_jax.core import files
from mmssr_jax.core.json_format import json_numbers
from mmssr_jax.core.saved import read_saved
from mmssr_jax.core.workdir import Workdir
from mmssr_jax.evaluation import runner
from mmssr_jax.evaluation.benchmark_registry import get_benchmark
from mmssr_jax.evaluation.break_even import training_seconds
from mmssr_jax.evaluation.ranking import ranked_score
from mmssr_jax.evaluation.score import by_group


@dataclasses.dataclass(frozen=True)
class ArmResult:
    """One arm of one replicate.

    Attributes:
      inputs: fingerprint of the settings that it depends on.
      needs: the stages that its selection needs; see `evaluation.break_even`.
      value: the mean over skills of `skills`.
      skills: skill -> the measure, in percent.
      predictions: digest of the prediction table: equal runs have equal ones.
      steps, tokens: of the training; None for a start that was not trained.
      seconds: of the training.
      rows: selected samples; None where nothing is selected.
      sources: source -> selected samples.
      flawed: the share of flawed samples among the selected ones, where the pool's truth is known.
    """

    inputs: str
    needs: Sequence[str]
    value: float
    skills: Mapping[str, float]
    predictions: str
    steps: int | None = None
    tokens: int | None = None
    seconds: float | None = None
    rows: int | None = None
    sources: Mapping[str, int] = dataclasses.field(default_factory=dict)
    flawed: float | None = None


@dataclasses.dataclass(frozen=True)
class ReplicateResults:
    """All that is known of one replicate, from the files of all families.

    Attributes:
      replicate: its number.
      configs: family -> fingerprint of its configs.
      cells: name -> cell.
      scorers: variant -> numbers, `inputs` among them.
      stages: variant -> stage -> seconds.
    """

    replicate: int
    configs: Mapping[str, str]
    cells: Mapping[str, ArmResult]
    scorers: Mapping[str, Mapping[str, Any]]
    stages: Mapping[str, Mapping[str, float]]


def read_cell(
    workdir: Workdir, run: str, *, benchmark: str, kind: str, measure: str, selection: str | None, inputs: str,
    needs: Sequence[str],
) -> ArmResult:  # fmt: skip
    """The cell of a run that was evaluated by ranked answers.

    Args:
      workdir: where it lies.
      run: its name.
      benchmark, kind: the benchmark's name and kind.
      measure: one of the ranked measures, such as "acc_norm".
      selection: the selection that it was trained on.
      inputs, needs: see `ArmResult`.

    Raises:
      UserError: a file is missing or damaged.
    """
    path = workdir.predictions(run) / f"{benchmark}.parquet"
    score = ranked_score(get_benchmark(kind), runner.read_predictions(path))
    skills = {name: entry["value"] for name, entry in by_group(score.variants[measure], "category").items()}
    more: dict[str, Any] = {}
    if workdir.training_results(run).exists():
        result = read_saved(workdir.training_results(run), {"steps": int, "tokens": int}, stage="train")
        more = {"steps": result["steps"], "tokens": result["tokens"], "seconds": training_seconds(workdir, run)}
    if selection is not None:
        more |= _selected(workdir, selection)
    value = float(np.mean(list(skills.values())))
    return ArmResult(inputs, tuple(needs), value, skills, files.file_digest(path), **more)


def _selected(workdir: Workdir, name: str) -> dict[str, Any]:
    """The fields of a cell that describe its selection."""
    picked = files.read_parquet(workdir.selection(name) / "selection.parquet", ["id", "source"])
    counts = {entry["values"]: entry["counts"] for entry in pc.value_counts(picked["source"]).to_pylist()}
    found: dict[str, Any] = {"rows": picked.num_rows, "sources": dict(sorted(counts.items()))}
    if workdir.truth.exists():
        truth = files.read_parquet(workdir.truth, ["id", "flaw"])
        flawed = set(truth.filter(pc.not_equal(truth["flaw"], ""))["id"].to_pylist())
        found["flawed"] = sum(i in flawed for i in picked["id"].to_pylist()) / max(picked.num_rows, 1)
    return found


def scorer_numbers(workdir: Workdir) -> dict[str, Any]:
    """What is kept of `results/scorer.json`; the suffix _calibrated marks the numbers of the calibrated scores.

    concordance, concordance_blind, concordance_ngrams   of the scores, of those with blank images, of an n-gram ridge
    unflawed_above                                       P(an unflawed sample is scored above a flawed one of its form)

    Raises:
      UserError: the file is missing or damaged.
    """
    report = read_saved(workdir.results("scorer"), {"concordance": (int, float)}, stage="score")
    numbers: dict[str, Any] = {}
    for suffix, part in (("", report), ("_calibrated", report.get("calibrated"))):
        if part is not None:
            baselines = part.get("baselines", {})
            numbers[f"concordance{suffix}"] = part["concordance"]
            numbers[f"concordance_blind{suffix}"] = baselines.get("blind", {}).get("concordance")
            numbers[f"concordance_ngrams{suffix}"] = baselines.get("ngram_ridge", {}).get("concordance")
            numbers[f"unflawed_above{suffix}"] = part.get("flaws", {}).get("unflawed_above")
    return numbers


def result_file(folder: Path, family: str, replicate: int) -> Path:
    """Where the results of one family and replicate lie."""
    return folder / family / f"{replicate}.json"


def write_results(path: Path, content: Mapping[str, Any], cells: Mapping[str, ArmResult]) -> None:
    """Writes one file; `content` holds all fields but the cells."""
    plain = {name: dataclasses.asdict(cells[name]) for name in sorted(cells)}
    for cell in plain.values():
        cell["needs"] = list(cell["needs"])
    files.write_json(path, json_numbers({**content, "cells": plain}))


def read_cells(path: Path) -> tuple[dict[str, Any], dict[str, ArmResult]]:
    """One file's fields without the cells, and its cells; both empty where there is no file.

    Raises:
      UserError: the file is damaged.
    """
    if not path.exists():
        return {}, {}
    content = read_saved(path, {"replicate": int, "config": str, "cells": dict, "scorers": dict, "stages": dict})
    return content, {name: ArmResult(**entry) for name, entry in content.pop("cells").items()}


def read_results(folder: Path) -> list[ReplicateResults]:
    """All results below a folder, by replicate in ascending order.

    Raises:
      UserError: a file is damaged.
    """
    found: dict[int, ReplicateResults] = {}
    for path in sorted(folder.glob("*/*.json")):
        content, cells = read_cells(path)
        number = content["replicate"]
        old = found.get(number, ReplicateResults(number, {}, {}, {}, {}))
        stages = {name: {**old.stages.get(name, {}), **times} for name, times in content["stages"].items()}
        found[number] = ReplicateResults(
            number, {**old.configs, path.parent.name: content["config"]}, {**old.cells, **cells},
            {**old.scorers, **content["scorers"]}, {**old.stages, **stages},
        )  # fmt: skip
    return [found[number] for number in sorted(found)]
