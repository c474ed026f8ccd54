"""What the scorer said of the pool: how scores and styles are distributed, and what each source is good for."""

from __future__ import annotations

import numpy as np

from mmssr_jax.core import files, tables
from mmssr_jax.core.vocabulary import MAX_SCORE
from mmssr_jax.report.blocks import Block, Cell, Chart, Charts, Heat, KeyFigure, Section
from mmssr_jax.report.inputs import Inputs, ReportConfig, counted, main_styles
from mmssr_jax.report.numbers import count, fixed, percent, readable
from mmssr_jax.report.sections.pool_overview import reject_table, share_bars
from mmssr_jax.report.svg_charts import histogram

_BINS = 20
_GOOD = 3


def scores_section(inputs: Inputs, config: ReportConfig) -> Section:
    """The section; see the module."""
    title = "Scores"
    if inputs.scores is None:
        return Section("scores", title, "", missing=["No scores yet: the score stage writes scores/part-*.parquet."])
    matrix = tables.matrix(inputs.scores, inputs.slugs)
    rows = inputs.scores.num_rows
    styles = counted(main_styles(inputs.scores))
    blocks: list[Block] = [
        Charts(
            [_distribution(slug, matrix[:, c]) for c, slug in enumerate(inputs.slugs)],
            title="Expected score by capability",
            note="From 0 (does not train this capability at all) to 5 (exemplary); the line marks the mean.",
        ),
        _by_source(inputs, matrix, config),
        share_bars(list(styles.items()), rows or 1, title="Main style"),
    ]
    blocks += _rejects(inputs)
    return Section(
        "scores", title, f"What the scorer thinks of all {count(rows)} samples of the pool.", blocks,
        headline=KeyFigure("scored", count(rows), f"samples in {len(inputs.slugs)} capabilities"),
    )  # fmt: skip


def _rejects(inputs: Inputs) -> list[Block]:
    path = inputs.workdir.scores / "rejects.jsonl"
    rejects = files.read_jsonl(path) if path.exists() else []
    note = "They are in the pool but have no scores, so no selection by capability can take them."
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
    counts = counted(inputs.scores["source"])
    shown = list(counts)[: config.max_rows]
    rows = []
    for name in shown:
        part = matrix[source == name]
        means = [float(np.nanmean(c)) if not np.isnan(c).all() else None for c in part.T]
        rows.append((f"{name} ({count(counts[name])})", [Cell(fixed(m, 1), (m or 0) / MAX_SCORE) for m in means]))
    rest = len(counts) - len(shown)
    return Heat(
        [readable(s) for s in inputs.slugs], rows, corner="source", title="Mean score by source",
        note="What each source is good for." + (f" {rest} smaller sources are not listed." if rest else ""),
    )  # fmt: skip
