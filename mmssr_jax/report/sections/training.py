"""The training runs: loss curves, and the last value of every other metric."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from mmssr_jax.core.metric_writer import read_metrics
from mmssr_jax.report.blocks import Block, Chart, Charts, Fold, Section, Table
from mmssr_jax.report.inputs import Inputs, ReportConfig
from mmssr_jax.report.numbers import count
from mmssr_jax.report.sections.training_gain import gain_headline
from mmssr_jax.report.svg_charts import Curve, downsampled, lines, smoothed

STAGES = "stages"  # metrics/stages.jsonl is the log of the stages, not of a training run
TIMED = "time/"  # prefix of metrics that differ between equal runs; see core.metric_writer
POINTS = 600
_SERIES = 8
_SMOOTHED = 1 / 20  # of a run
_EMPTY = (np.zeros(0), np.zeros(0))


def training_section(inputs: Inputs, config: ReportConfig) -> Section:
    """The training section."""
    title = "Training"
    runs = {path.stem: read_curves(path) for path in metric_files(inputs.workdir.root)}
    runs = {name: curves for name, curves in runs.items() if curves}
    if not runs:
        return Section(
            "training", title, "", missing=["Nothing trained yet: a training run writes metrics/<run>.jsonl."],
            headline=gain_headline(inputs),
        )  # fmt: skip
    losses = {run: {n: c for n, c in curves.items() if is_loss(n)} for run, curves in runs.items()}
    losses = {run: curves for run, curves in losses.items() if curves}
    blocks: list[Block] = [_loss_charts(losses)] if losses else []
    blocks.append(Fold("Last value of every metric", [_last_values(runs)]))
    lead = "The training runs of this workdir, finished or not."
    return Section("training", title, lead, blocks, headline=gain_headline(inputs))


def _loss_charts(losses: Mapping[str, Mapping[str, Curve]]) -> Charts:
    """One chart a run, all on one logarithmic scale."""
    legend = sorted({n for curves in losses.values() for n in curves}, key=lambda n: (n != "loss", n))[:_SERIES]
    shown = [
        values[np.isfinite(values)] for curves in losses.values() for n, (_, values) in curves.items() if n in legend
    ]
    every = np.concatenate(shown)
    cover = (float(every.min()), float(every.max())) if len(every) else None
    charts = []
    for run, curves in losses.items():
        raw = [curves.get(n, _EMPTY) for n in legend]
        svg = lines(
            [_smooth(c) for c in raw], raw=[downsampled(*c, POINTS) for c in raw], cover=cover, log=True,
            label=f"Losses of {run}",
        )  # fmt: skip
        charts.append(Chart(run, svg, _ends(curves)))
    note = (
        f"On one scale. Dots, or a faint curve: the points of metrics/<run>.jsonl (of more than {count(POINTS)}, means "
        "of equal segments). Curve: their exponential moving average over a twentieth of the run."
    )
    return Charts(charts, legend, title="Loss by step", note=note, size="wide")


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


def _smooth(curve: Curve) -> Curve:
    return downsampled(curve[0], smoothed(curve[1], round(len(curve[1]) * _SMOOTHED)), POINTS)


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
