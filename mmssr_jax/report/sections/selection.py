"""The selections: sources, styles, scores and flaws, compared with the pool and with each other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mmssr_jax.core import tables
from mmssr_jax.report.blocks import Block, Cell, Fold, Grid, Heat, KeyFigure, Note, Section, Table
from mmssr_jax.report.inputs import Inputs, ReportConfig, flaws, main_styles, row_indices, value_counts
from mmssr_jax.report.numbers import NONE, count, fixed, percent, readable
from mmssr_jax.report.sections.fair_share import fair_share_blocks
from mmssr_jax.report.sections.matched_controls import matched_blocks
from mmssr_jax.report.sections.selection_overlap import overlap_blocks
from mmssr_jax.report.sections.source_style import source_style_blocks

MAX_ROUNDS = 12


def selection_section(inputs: Inputs, config: ReportConfig) -> Section:
    """The selections section."""
    title = "Selections"
    if not inputs.selections:
        missing = ["Nothing selected yet: the select stage writes selections/<name>/selection.parquet."]
        return Section("selections", title, "", missing=missing)
    compared = dict(list(inputs.selections.items())[: config.max_selections])
    blocks: list[Block] = [_overview(inputs)]
    if len(compared) < len(inputs.selections):
        omitted = len(inputs.selections) - len(compared)
        blocks.append(
            Note(f"The comparisons below show the first {len(compared)} selections; {omitted} more are listed above.")
        )
    first, picks = headline_selection(inputs)
    blocks += fair_share_blocks(inputs)
    blocks += [note for name in inputs.selections for note in _starved(inputs, name)]
    blocks += overlap_blocks(inputs)
    blocks += source_style_blocks(inputs, first, picks, config)
    missing, shares, scored = [], [], []
    if inputs.index is not None:
        pool = value_counts(inputs.index["source"])
        parts = {n: value_counts(p["source"]) for n, p in compared.items()}
        shares.append(_shares(pool, parts, config, title="Sources", corner="source"))
    if inputs.scores is None:
        missing.append("Styles and mean scores of the selections need scores/.")
    else:
        shares.append(_styles(inputs, compared, config))
        scored.append(_mean_scores(inputs, compared))
    flaw_column = flaws(inputs.truth)
    if flaw_column is not None and inputs.truth is not None:
        scored.append(_flaw_shares(inputs.truth, flaw_column, compared))
    blocks += [Grid(part) for part in (shares, scored) if part]
    blocks += matched_blocks(inputs)
    for name, picks in compared.items():
        if picks["capability"].null_count < picks.num_rows:
            blocks.append(Fold(f"Capabilities and rounds of {name}", [_rounds(picks)]))
    lead = "The selected samples, by source, style and capability."
    return Section("selections", title, lead, blocks, missing, headline=_headline(inputs))


def _headline(inputs: Inputs) -> KeyFigure:
    """The featured selection; where flaws are known, good at a third of the pool's share and less, bad above it."""
    name, picks = headline_selection(inputs)
    column = flaws(inputs.truth)
    if inputs.truth is None or column is None or not picks.num_rows:
        return KeyFigure("selected", count(picks.num_rows), f"by {name}")
    pool = _flaw_share(column)
    share = _flaw_share(column.take(pa.array(_picked_rows(picks, inputs.truth))))
    tone: Literal["neutral", "good", "bad"] = "good" if share <= pool / 3 else "neutral" if share <= pool else "bad"
    note = f"by {name}; {percent(share)} flawed, in the pool {percent(pool)}"
    return KeyFigure("selected", count(picks.num_rows), note, tone)


def headline_selection(inputs: Inputs) -> tuple[str, pa.Table]:
    """The selection that the page features: the smallest one made by capability, else the first by name."""
    by_capability = [(t.num_rows, n) for n, t in inputs.selections.items() if t["capability"].null_count < t.num_rows]
    name = min(by_capability)[1] if by_capability else next(iter(inputs.selections))
    return name, inputs.selections[name]


def _overview(inputs: Inputs) -> Table:
    total = inputs.index.num_rows if inputs.index is not None else None
    flaw_column = flaws(inputs.truth)
    first, reference = headline_selection(inputs)
    rows = []
    if total is not None:
        rows.append(("the whole pool", "", count(total), "100 %", _flawed(inputs.truth, flaw_column), ""))
    for name, picks in inputs.selections.items():
        of_pool = percent(picks.num_rows / total) if total else NONE
        shared = pc.sum(pc.is_in(picks["id"], value_set=reference["id"].combine_chunks())).as_py() or 0
        overlap = NONE if name == first or not picks.num_rows else percent(shared / picks.num_rows)
        flawed = _flawed(inputs.truth, flaw_column, picks)
        rows.append((name, _method(inputs, name), count(picks.num_rows), of_pool, flawed, overlap))
    return Table(
        ("selection", "method", "samples", "of the pool", "flawed", f"also in {first}"), rows, numeric=(2, 3, 4, 5),
        note="" if flaw_column is not None else "The share of flawed samples is known only for the synthetic pool.",
    )  # fmt: skip


def _method(inputs: Inputs, name: str) -> str:
    settings = inputs.selection_manifest(name)["config"]
    chosen = settings.get("selection", settings)
    return str(chosen.get("method", NONE)) + (", calibrated scores" if chosen.get("calibrated") else "")


def _starved(inputs: Inputs, name: str) -> list[Block]:
    """An alarm, if capabilities have less than half of their fair share of a selection's picks."""
    few = inputs.selection_manifest(name).get("counts", {}).get("below_half_share", {})
    if not few:
        return []
    named = ", ".join(f"{readable(slug)} ({count(picks)})" for slug, picks in few.items())
    text = f"{name}: too few samples exceed the threshold; less than half of a fair share of the picks is for {named}."
    return [Note(text, "alarm")]


def _flawed(truth: pa.Table | None, flaw_column: pa.ChunkedArray | None, picks: pa.Table | None = None) -> str:
    """The percentage of flawed samples in a selection, or in the pool."""
    if truth is None or flaw_column is None:
        return NONE
    chosen = flaw_column if picks is None else flaw_column.take(pa.array(_picked_rows(picks, truth)))
    return percent(_flaw_share(chosen)) if len(chosen) else NONE


def _flaw_share(chosen: pa.ChunkedArray) -> float:
    """The share of the entries, strings `[N]`, that are not null."""
    return (len(chosen) - chosen.null_count) / len(chosen)


def _picked_rows(picks: pa.Table, table: pa.Table) -> np.ndarray:
    """The indices of the picked rows of `table`."""
    rows = row_indices(picks["id"], table)
    return rows[rows >= 0]


def _shares(
    pool: Mapping[str, int], parts: Mapping[str, Mapping[str, int]], config: ReportConfig, *, title: str, corner: str
) -> Heat:
    """Shares of the pool and of each selection; the colour is the share."""
    names = list(pool)[: config.max_rows]
    totals = {n: sum(p.values()) or 1 for n, p in parts.items()}
    base = sum(pool.values()) or 1
    table = [(name, [pool[name] / base, *(p.get(name, 0) / totals[n] for n, p in parts.items())]) for name in names]
    highest = max((v for _, values in table for v in values), default=1) or 1
    rows = []
    for name, values in table:
        cells = [Cell(percent(values[0]), values[0] / highest, count(pool[name]))]
        for (part, counts), share in zip(parts.items(), values[1:], strict=True):
            hint = (
                f"{part}: {count(counts.get(name, 0))} samples, {fixed(share / (values[0] or 1), 1)} × the pool's share"
            )
            cells.append(Cell(percent(share), share / highest, hint))
        rows.append((readable(name), cells))
    omitted = len(pool) - len(names)
    note = f"Shares of the pool and of each selection.{f' {omitted} more are not listed.' if omitted else ''}"
    return Heat(["pool", *parts], rows, corner=corner, title=title, note=note)


def _styles(inputs: Inputs, selections: Mapping[str, pa.Table], config: ReportConfig) -> Heat:
    assert inputs.scores is not None
    styles = main_styles(inputs.scores)
    parts = {n: value_counts(styles.take(pa.array(_picked_rows(p, inputs.scores)))) for n, p in selections.items()}
    return _shares(value_counts(styles), parts, config, title="Main styles", corner="style")


def _mean_scores(inputs: Inputs, selections: Mapping[str, pa.Table]) -> Heat:
    assert inputs.scores is not None
    matrix = tables.matrix(inputs.scores, inputs.slugs)
    columns = [np.nanmean(matrix, axis=0)]
    columns += [_column_means(matrix[_picked_rows(p, inputs.scores)]) for p in selections.values()]
    means = np.stack(columns, axis=1)
    rows = [
        (readable(slug), [Cell(fixed(float(v)), 0.0 if np.isnan(v) else float(v) / 5) for v in means[c]])
        for c, slug in enumerate(inputs.slugs)
    ]
    note = "Predicted by the scorer; a selection that maximises these scores has high means by construction."
    return Heat(["pool", *selections], rows, corner="capability", title="Mean score", note=note)


def _column_means(matrix: np.ndarray) -> np.ndarray:
    return np.nanmean(matrix, axis=0) if len(matrix) else np.full(matrix.shape[1], np.nan)


def _flaw_shares(truth: pa.Table, flaw_column: pa.ChunkedArray, selections: Mapping[str, pa.Table]) -> Heat:
    """The share of each flaw in the pool and in each selection."""
    chosen = [flaw_column, *(flaw_column.take(pa.array(_picked_rows(p, truth))) for p in selections.values())]
    sizes = [len(c) or 1 for c in chosen]
    counts = [value_counts(c) for c in chosen]
    table: list[tuple[str, Sequence[float]]] = [
        (name, [c.get(name, 0) / n for c, n in zip(counts, sizes, strict=True)]) for name in counts[0]
    ]
    table.insert(0, ("any flaw", [sum(c.values()) / n for c, n in zip(counts, sizes, strict=True)]))
    highest = max(v for _, values in table for v in values) or 1
    rows = [(readable(name), [Cell(percent(v), v / highest) for v in values]) for name, values in table]
    note = "The generator's ground truth, which neither the judge nor the scorer receives."
    return Heat(["pool", *selections], rows, corner="flaw", title="Flawed samples", note=note)


def _rounds(picks: pa.Table) -> Heat:
    capability = picks["capability"].fill_null(NONE).to_numpy(zero_copy_only=False).astype(str)
    round_ = picks["round"].to_numpy(zero_copy_only=False)
    last = min(int(round_.max()), MAX_ROUNDS) if len(round_) else 0
    rounds = sorted({int(min(r, MAX_ROUNDS)) for r in round_})
    names = list(dict.fromkeys(capability))
    table = {n: [int(np.sum((capability == n) & (np.minimum(round_, MAX_ROUNDS) == k))) for k in rounds] for n in names}
    highest = max(max(v) for v in table.values()) or 1
    rows = []
    for name, counts in sorted(table.items(), key=lambda p: (-sum(p[1]), p[0])):
        cells = [Cell(count(sum(counts)))]
        cells += [Cell(count(n) if n else "", (n / highest) ** 0.5 if n else None) for n in counts]
        rows.append((readable(name), cells))
    labels = [f"{k} or later" if k == last == MAX_ROUNDS else str(k) for k in rounds]
    note = "Number of picks by capability and round; round 0 holds the samples that the config requires by id."
    return Heat(["all", *(f"round {x}" for x in labels)], rows, corner="capability", note=note)
