"""Run times and memory: with the cost of selecting, the only part of the page that differs between two equal runs."""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mmssr_jax.core import files
from mmssr_jax.core.metric_writer import read_metrics
from mmssr_jax.report.blocks import Block, Section, Table
from mmssr_jax.report.inputs import Inputs
from mmssr_jax.report.numbers import NONE, count, fixed, seconds
from mmssr_jax.report.sections.judge_progress import judge_progress_blocks
from mmssr_jax.report.sections.training import TIMED, metric_files

SKIPPED = "skipped"


def times_section(inputs: Inputs) -> Section:
    """The times section."""
    title = "Times"
    path = inputs.workdir.metrics("stages")
    rows = files.read_jsonl(path) if path.exists() else []
    blocks: list[Block] = []
    missing = []
    if rows:
        blocks.append(_stage_table(rows))
    else:
        missing.append("No stage has been timed yet: metrics/stages.jsonl does not exist.")
    timed = _timed_metrics(inputs)
    if timed is not None:
        blocks.append(timed)
    blocks += judge_progress_blocks(inputs)
    selections = _selection_times(inputs)
    if selections is not None:
        blocks.append(selections)
    lead = (
        "Run time and memory of the stages. Only this part of the page, and the cost of selecting under Downstream, "
        "differ between two runs with equal settings."
    )
    return Section("times", title, lead, blocks, missing)


def _selection_times(inputs: Inputs) -> Table | None:
    """The seconds of each selection alone, where the select stage wrote a summary."""
    result = inputs.results("selections")
    if result is None:
        return None
    lines = [
        (name, row["method"], count(row["samples"]), fixed(row["seconds"], 3))
        for name, row in result["selections"].items()
    ]
    return Table(
        ("selection", "method", "samples", "seconds"), lines, numeric=(2, 3), title="Selections",
        note="Without reading and writing; features and scores, which several selections share, are stages above.",
    )  # fmt: skip


def _stage_table(rows: Sequence[Mapping[str, Any]]) -> Table:
    """One line per stage: total time of all attempts, last status, maximum memory."""
    stages: dict[str, list[Mapping[str, Any]]] = {}
    for row in rows:
        stages.setdefault(str(row["stage"]), []).append(row)
    lines = []
    total = 0.0
    for stage, attempts in stages.items():
        worked = [r for r in attempts if r.get("status") != SKIPPED] or attempts
        spent = sum(float(r["seconds"]) for r in worked)
        total += spent
        peak = max((float(r["peak_mib"]) for r in worked if r.get("peak_mib") is not None), default=None)
        when = _date(worked[-1].get("time"))
        lines.append(
            (stage, str(worked[-1].get("status", "done")), seconds(spent), f"{count(peak)} MiB" if peak else NONE, when)
        )
    lines.append(("all", "", seconds(total), "", ""))
    return Table(
        ("stage", "status", "time", "peak memory", "finished (UTC)"), lines, numeric=(2, 3), strong=(len(lines) - 1,)
    )


def _date(time: Any) -> str:
    if isinstance(time, (int, float)):
        return datetime.datetime.fromtimestamp(time, datetime.UTC).strftime("%Y-%m-%d %H:%M")
    return str(time)[:16].replace("T", " ") if time else NONE


def _timed_metrics(inputs: Inputs) -> Table | None:
    """The median of every timing that the training runs recorded."""
    lines = []
    for path in metric_files(inputs.workdir.root):
        values: dict[str, list[float]] = {}
        for row in read_metrics(path):
            name = str(row.get("name", ""))
            if name.startswith(TIMED) and "value" in row:
                values.setdefault(name, []).append(float(row["value"]))
        lines += [(path.stem, n.removeprefix(TIMED), fixed(float(np.median(v)), 3)) for n, v in sorted(values.items())]
    return Table(("run", "timing", "median"), lines, numeric=(2,), title="Training") if lines else None
