"""What the pool is: samples by source, pictures and turns a sample, what was rejected and why."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from mmssr_jax.core import files
from mmssr_jax.report import numbers
from mmssr_jax.report.blocks import Bar, Bars, Block, Grid, KeyFigure, KeyFigures, Note, Section, Table
from mmssr_jax.report.inputs import Inputs, ReportConfig, counted, flaws, shortened
from mmssr_jax.report.numbers import count, fixed, percent, readable

_KINDS = 6  # of pictures or turns a sample, before the rest is summed up


def pool_section(inputs: Inputs, config: ReportConfig) -> Section:
    """The section; see the module."""
    title = "Pool"
    if inputs.index is None:
        return Section("pool", title, "", missing=["No pool yet: the ingest stage writes pool/index.parquet."])
    index, rejects = inputs.index, _rejects(inputs)
    total = index.num_rows
    sources = counted(index["source"])
    blocks: list[Block] = [
        KeyFigures(
            [
                KeyFigure(
                    "samples", count(total), f"{count(len(rejects))} more were rejected" if rejects else "none rejected"
                ),
                KeyFigure("sources", count(len(sources))),
                KeyFigure("pictures", count(_numbers(index, "n_images").sum()), _per_sample(index, "n_images")),
                KeyFigure("turns", count(_numbers(index, "n_turns").sum()), _per_sample(index, "n_turns")),
            ]
        ),
        share_bars(shortened(sources, config.max_rows, "sources"), total, title="Samples by source"),
        Grid([_spread_table(index, "n_images", "pictures"), _spread_table(index, "n_turns", "turns")]),
    ]
    blocks += _flaw_blocks(inputs, total)
    note = "Every record that is not used; the full list is pool/rejects.jsonl."
    blocks.append(
        reject_table(rejects, title="Rejected on reading", note=note)
        if rejects
        else Note("Nothing was rejected on reading: every record of the pool is used.")
    )
    return Section(
        "pool", title, "What there was to choose from.", blocks,
        headline=KeyFigure("pool", count(total), f"samples of {numbers.counted(len(sources), 'source')}"),
    )  # fmt: skip


def share_bars(pairs: Sequence[tuple[str, float]], total: float, *, title: str, note: str = "") -> Bars:
    """Bars of counts, with their share of a total."""
    longest = max((v for _, v in pairs), default=1) or 1
    return Bars([Bar(k, [v / longest], f"{count(v)} · {percent(v / total)}") for k, v in pairs], title=title, note=note)


def _rejects(inputs: Inputs) -> list[dict[str, Any]]:
    path = inputs.workdir.pool / "rejects.jsonl"
    return files.read_jsonl(path) if path.exists() else []


def _numbers(index: pa.Table, column: str) -> np.ndarray:
    return index[column].to_numpy() if column in index.schema.names else np.zeros(0, np.int64)


def _per_sample(index: pa.Table, column: str) -> str:
    return f"{fixed(float(_numbers(index, column).sum()) / index.num_rows)} a sample" if index.num_rows else ""


def _spread_table(index: pa.Table, column: str, what: str) -> Table:
    kinds, counts = np.unique(_numbers(index, column), return_counts=True)
    shown = [(str(k), int(n)) for k, n in zip(kinds[:_KINDS], counts[:_KINDS], strict=True)]
    if len(kinds) > _KINDS:
        shown.append((f"{kinds[_KINDS]} or more", int(counts[_KINDS:].sum())))
    rows = [(k, count(n), percent(n / counts.sum())) for k, n in shown]
    return Table((f"{what} a sample", "samples", "share"), rows, numeric=(1, 2))


def _flaw_blocks(inputs: Inputs, total: int) -> list[Block]:
    found = flaws(inputs.truth)
    if found is None:
        return []
    counts = counted(found)
    bars = share_bars(
        [(readable(k), v) for k, v in counts.items()], total, title="Flawed samples",
        note=f"Planted by the generator and known to nobody else: {percent(sum(counts.values()) / total)} of the pool.",
    )  # fmt: skip
    return [bars]


def reject_table(rejects: Sequence[Mapping[str, Any]], *, title: str, note: str) -> Table:
    """Rejected samples by reason, the most frequent first, each with its first example."""
    by_reason: dict[str, list[Mapping[str, Any]]] = {}
    for row in rejects:
        by_reason.setdefault(str(row.get("reason", "?")), []).append(row)
    rows = [
        (reason.replace("_", " "), count(len(rows)), str(rows[0].get("id") or ""), str(rows[0].get("detail", "")))
        for reason, rows in sorted(by_reason.items(), key=lambda p: (-len(p[1]), p[0]))
    ]
    header = ("reason", "samples", "for example", "what was found")
    return Table(header, rows, numeric=(1,), title=title, note=note)
