"""The pool: samples by source, images and turns per sample, and rejected records with their reasons."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from mmssr_jax.core import files
from mmssr_jax.report import numbers
from mmssr_jax.report.blocks import Bar, Bars, Block, Grid, KeyFigure, KeyFigures, Note, Section, Table
from mmssr_jax.report.inputs import Inputs, ReportConfig, flaws, truncated, value_counts
from mmssr_jax.report.numbers import count, fixed, percent, readable

_MAX_ROWS = 6  # rows of a distribution before the remaining values are aggregated
_MAX_REJECTED = 0.1  # share of the records above which the tile is red


def pool_section(inputs: Inputs, config: ReportConfig) -> Section:
    """The pool section."""
    title = "Pool"
    if inputs.index is None:
        return Section("pool", title, "", missing=["No pool yet: the ingest stage writes pool/index.parquet."])
    index, rejects = inputs.index, _rejects(inputs)
    total = index.num_rows
    sources = value_counts(index["source"])
    blocks: list[Block] = [
        KeyFigures(
            [
                KeyFigure(
                    "samples", count(total), f"{count(len(rejects))} more were rejected" if rejects else "none rejected"
                ),
                KeyFigure("sources", count(len(sources))),
                KeyFigure("images", count(_numbers(index, "n_images").sum()), _per_sample(index, "n_images")),
                KeyFigure("turns", count(_numbers(index, "n_turns").sum()), _per_sample(index, "n_turns")),
            ]
        ),
        share_bars(truncated(sources, config.max_rows, "sources"), total, title="Samples by source"),
        Grid([_distribution(index, "n_images", "images"), _distribution(index, "n_turns", "turns")]),
    ]
    blocks += _flaw_blocks(inputs, total)
    note = "Records that are not part of the pool; pool/rejects.jsonl lists all of them."
    blocks.append(
        reject_table(rejects, title="Rejected by ingest", note=note)
        if rejects
        else Note("Nothing was rejected by ingest: the pool contains every record.")
    )
    return Section(
        "pool", title, "The samples to select from.", blocks,
        headline=_headline(total, len(sources), len(rejects)),
    )  # fmt: skip


def _headline(total: int, sources: int, rejected: int) -> KeyFigure:
    """The pool's size; bad if ingest rejected more than a tenth of the records."""
    note = f"samples from {numbers.with_noun(sources, 'source')}"
    if rejected > _MAX_REJECTED * (total + rejected):
        return KeyFigure("pool", count(total), f"{note}; {count(rejected)} more were rejected", "bad")
    return KeyFigure("pool", count(total), note)


def share_bars(pairs: Sequence[tuple[str, float]], total: float, *, title: str, note: str = "") -> Bars:
    """Bars of counts and their percentages of a total."""
    longest = max((v for _, v in pairs), default=1) or 1
    return Bars([Bar(k, [v / longest], f"{count(v)} · {percent(v / total)}") for k, v in pairs], title=title, note=note)


def _rejects(inputs: Inputs) -> list[dict[str, Any]]:
    path = inputs.workdir.pool / "rejects.jsonl"
    return files.read_jsonl(path) if path.exists() else []


def _numbers(index: pa.Table, column: str) -> np.ndarray:
    return index[column].to_numpy() if column in index.schema.names else np.zeros(0, np.int64)


def _per_sample(index: pa.Table, column: str) -> str:
    return f"{fixed(float(_numbers(index, column).sum()) / index.num_rows)} per sample" if index.num_rows else ""


def _distribution(index: pa.Table, column: str, what: str) -> Table:
    values, counts = np.unique(_numbers(index, column), return_counts=True)
    listed = [(str(v), int(n)) for v, n in zip(values[:_MAX_ROWS], counts[:_MAX_ROWS], strict=True)]
    if len(values) > _MAX_ROWS:
        listed.append((f"{values[_MAX_ROWS]} or more", int(counts[_MAX_ROWS:].sum())))
    rows = [(v, count(n), percent(n / counts.sum())) for v, n in listed]
    return Table((f"{what} per sample", "samples", "share"), rows, numeric=(1, 2))


def _flaw_blocks(inputs: Inputs, total: int) -> list[Block]:
    column = flaws(inputs.truth)
    if column is None:
        return []
    counts = value_counts(column)
    bars = share_bars(
        [(readable(k), v) for k, v in counts.items()], total, title="Flawed samples",
        note=f"{percent(sum(counts.values()) / total)} of the pool. Only the generator knows which samples are flawed.",
    )  # fmt: skip
    return [bars]


def reject_table(rejects: Sequence[Mapping[str, Any]], *, title: str, note: str) -> Table:
    """Rejected samples by reason, most frequent first, with the first example of each."""
    by_reason: dict[str, list[Mapping[str, Any]]] = {}
    for row in rejects:
        by_reason.setdefault(str(row.get("reason", "?")), []).append(row)
    rows = [
        (reason.replace("_", " "), count(len(rows)), str(rows[0].get("id") or ""), str(rows[0].get("detail", "")))
        for reason, rows in sorted(by_reason.items(), key=lambda p: (-len(p[1]), p[0]))
    ]
    header = ("reason", "samples", "example", "detail")
    return Table(header, rows, numeric=(1,), title=title, note=note)
