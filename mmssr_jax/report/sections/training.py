"""The training runs: loss curves, and the last value of every other metric."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from mmssr_jax.core.metric_writer import read_metrics
from mmssr_jax.report.blocks import Block, Chart, Charts, Fold, Section, Table
from mmssr_jax.report.inputs import Inputs, ReportConfig
from mmssr_jax.report.numbers import count
from mmssr_jax.report.svg_charts import downsampled, lines

STAGES = "stages"  # metrics/stages.jsonl is the log of the stages, not of a training run
TIMED = "time/"  # prefix of metrics that differ between equal runs; see core.metric_writer
POINTS = 160
_SERIES = 8

Curve = tuple[np.ndarray, np.ndarray]


def training_section(inputs: Inputs, config: ReportConfig) -> Section:
    """The training section."""
    title = "Training"
    runs = {path.stem: read_curves(path) for path in metric_files(inputs.workdir.root)}
    runs = {name: curves for name, curves in runs.items() if curves}
    if not runs:
        return Section(
            "training", title, "", missing=["Nothing trained yet: a training run writes metrics/<run>.jsonl."]
        )
    losses = {run: {n: c for n, c in curves.items() if is_loss(n)} for run, curves in runs.items()}
    legend = sorted({n for curves in losses.values() for n in curves}, key=lambda n: (n != "loss", n))[:_SERIES]
    charts = [
        Chart(run, lines([_thin(curves.get(n)) for n in legend], label=f"Losses of {run}"), _ends(curves))
        for run, curves in losses.items()
        if curves
    ]
    blocks: list[Block] = []
    if charts:
        blocks.append(Charts(charts, legend, title="Loss by step", wide=True))
    blocks.append(Fold("Last value of every metric", [_last_values(runs)]))
    return Section("training", title, "The training runs of this workdir, finished or not.", blocks)


def metric_files(root: Path) -> list[Path]:
    """The metric files of all training runs, sorted by name."""
    return [p for p in sorted((root / "metrics").glob("*.jsonl")) if p.stem != STAGES]


def read_curves(path: Path) -> dict[str, Curve]:
    """name -> (steps `[N]`, values `[N]`) of one run, without timings."""
    points: dict[str, tuple[list[float], list[float]]] = {}
    for row in read_metrics(path):
        if not {"step", "name", "value"} <= row.keys() or str(row["name"]).startswith(TIMED):
            continue
        steps, values = points.setdefault(str(row["name"]), ([], []))
        steps.append(float(row["step"]))
        values.append(float(row["value"]))
    return {name: (np.array(s), np.array(v)) for name, (s, v) in sorted(points.items())}


def is_loss(name: str) -> bool:
    """Whether a metric belongs to the loss chart."""
    return name == "loss" or name.endswith(("/loss", "_loss"))


def _thin(curve: Curve | None) -> Curve:
    return downsampled(*curve, POINTS) if curve is not None else (np.zeros(0), np.zeros(0))


def _ends(curves: Mapping[str, Curve]) -> str:
    name = "loss" if "loss" in curves else next(iter(curves))
    steps, values = curves[name]
    tail = values[-max(1, len(values) // 20) :]
    return f"{name} {values[0]:.3g} at step {count(steps[0])}, {tail.mean():.3g} at step {count(steps[-1])}"


def _last_values(runs: Mapping[str, Mapping[str, Curve]]) -> Table:
    rows = [
        (run, name, count(steps[-1]), f"{values[-1]:.4g}")
        for run, curves in runs.items()
        for name, (steps, values) in curves.items()
    ]
    return Table(("run", "metric", "step", "value"), rows, numeric=(2, 3))
