"""The scores of the pool: distributions of scores and styles, and mean scores by source."""

from __future__ import annotations

import numpy as np

from mmssr_jax.core import files, tables
from mmssr_jax.core.vocabulary import MAX_SCORE
from mmssr_jax.report.blocks import Block, Cell, Chart, Charts, Heat, KeyFigure, Section
from mmssr_jax.report.inputs import Inputs, ReportConfig, main_styles, value_counts
from mmssr_jax.report.numbers import count, fixed, percent, readable
from mmssr_jax.report.sections.pool_overview import reject_table, share_bars
from mmssr_jax.report.svg_charts import histogram

_BINS = 20
_GOOD = 3


def scores_section(inputs: Inputs, config: ReportConfig) -> Section:
    """The scores section."""
    title = "Scores"
    if inputs.scores is None:
        return Section("scores", title, "", missing=["No scores yet: the score stage writes scores/part-*.parquet."])
    matrix = tables.matrix(inputs.scores, inputs.slugs)
    rows = inputs.scores.num_rows
    styles = value_counts(main_styles(inputs.scores))
    blocks: list[Block] = [
        Charts(
            [_distribution(slug, matrix[:, c]) for c, slug in enumerate(inputs.slugs)],
            title="Expected score by capability",
            note="From 0 (does not train this capability) to 5 (exemplary); the vertical line is the mean.",
        ),
        _by_source(inputs, matrix, config),
        share_bars(list(styles.items()), rows or 1, title="Main style"),
    ]
    blocks += _rejects(inputs)
    measured = inputs.workdir.results("scorer").exists()  # then the scorer's tile stands for this stage
    headline = None if measured else KeyFigure("scored", count(rows), f"samples in {len(inputs.slugs)} capabilities")
    return Section(
        "scores", title, f"The scorer's predictions for all {count(rows)} samples of the pool.", blocks,
        headline=headline,
    )  # fmt: skip


def _rejects(inputs: Inputs) -> list[Block]:
    path = inputs.workdir.scores / "rejects.jsonl"
    rejects = files.read_jsonl(path) if path.exists() else []
    note = "These samples are in the pool but have no scores, so selections by capability exclude them."
    return [reject_table(rejects, title="Could not be scored", note=note)] if rejects else []


def _distribution(slug: str, values: np.ndarray) -> Chart:
    values = values[~np.isnan(values)]
    edges = np.linspace(0, MAX_SCORE, _BINS + 1)
    counts, _ = np.histogram(np.clip(values, 0, MAX_SCORE), bins=edges)
    mean = float(values.mean()) if len(values) else None
    good = percent(float((values >= _GOOD).mean())) if len(values) else "–"
    name = readable(slug)
    svg = histogram(counts.tolist(), edges.tolist(), label=f"Distribution of {name}", mark=mean)
    return Chart(name, svg, f"mean {fixed(mean)}, {good} ≥ {_GOOD}")


def _by_source(inputs: Inputs, matrix: np.ndarray, config: ReportConfig) -> Heat:
    assert inputs.scores is not None
    source = inputs.scores["source"].to_numpy(zero_copy_only=False).astype(str)
    counts = value_counts(inputs.scores["source"])
    listed = list(counts)[: config.max_rows]
    rows = []
    for name in listed:
        part = matrix[source == name]
        means = [float(np.nanmean(c)) if not np.isnan(c).all() else None for c in part.T]
        rows.append((f"{name} ({count(counts[name])})", [Cell(fixed(m, 1), (m or 0) / MAX_SCORE) for m in means]))
    omitted = len(counts) - len(listed)
    return Heat(
        [readable(s) for s in inputs.slugs], rows, corner="source", title="Mean score by source",
        note=f"{omitted} smaller sources are not listed." if omitted else "",
    )  # fmt: skip
