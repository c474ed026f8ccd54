"""Which part of each source and style of the pool a selection took."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mmssr_jax.report.blocks import Block, Cell, Heat
from mmssr_jax.report.inputs import Inputs, ReportConfig, main_styles, row_indices
from mmssr_jax.report.numbers import count, fixed, percent, readable


def source_style_blocks(inputs: Inputs, name: str, picks: pa.Table, config: ReportConfig) -> list[Block]:
    """A matrix of sources and main styles of one selection against the pool; nothing without scores.

    Args:
      inputs: the artefacts.
      name: the selection.
      picks: its samples.
      config: the maximum number of sources.
    """
    if inputs.scores is None or not inputs.scores.num_rows or not picks.num_rows:
        return []
    sources, source = _codes(inputs.scores["source"])
    styles, style = _codes(main_styles(inputs.scores).fill_null("no style"))
    rows = row_indices(picks["id"], inputs.scores)
    taken = np.zeros(len(source), bool)
    taken[rows[rows >= 0]] = True
    shape = len(sources), len(styles)
    cell = source * len(styles) + style
    pool = np.bincount(cell, minlength=len(sources) * len(styles)).reshape(shape)
    got = np.bincount(cell[taken], minlength=len(sources) * len(styles)).reshape(shape)
    return [_heat(name, pool, got, sources, styles, config.max_rows)]


def _codes(values: pa.ChunkedArray | pa.Array) -> tuple[list[str], np.ndarray]:
    """The distinct values of `[N]`, sorted, and the index of each, int64 `[N]`."""
    names = pc.unique(values).sort()
    return [str(n) for n in names.to_pylist()], pc.index_in(values, value_set=names).to_numpy().astype(np.int64)


def _heat(name: str, pool: np.ndarray, got: np.ndarray, sources: list[str], styles: list[str], max_rows: int) -> Heat:
    """Args: pool, got: samples of the pool and of the selection, int64 `[sources, styles]`."""
    rate = got.sum() / pool.sum()
    columns = np.argsort(-pool.sum(axis=0), kind="stable")
    listed = np.argsort(-pool.sum(axis=1), kind="stable")[:max_rows]
    rows = []
    for i in listed:
        cells = [_cell(int(got[i].sum()), int(pool[i].sum()), rate, f"{readable(sources[i])}, all styles")]
        cells += [_cell(int(got[i, j]), int(pool[i, j]), rate, f"{readable(sources[i])}, {styles[j]}") for j in columns]
        rows.append((readable(sources[i]), cells))
    every = [_cell(int(got.sum()), int(pool.sum()), rate, "all")]
    every += [_cell(int(got[:, j].sum()), int(pool[:, j].sum()), rate, styles[j]) for j in columns]
    rows.insert(0, ("all sources", every))
    omitted = len(sources) - len(listed)
    note = (
        f"The share of the pool's samples of a source and main style that {name} took, beside {percent(rate)} of the "
        f"whole pool; empty where the pool has none.{f' {omitted} smaller sources are not listed.' if omitted else ''}"
    )
    names = ["all styles", *(styles[j] for j in columns)]
    return Heat(names, rows, corner="source", title=f"Source × style: what {name} took of the pool", note=note)


def _cell(got: int, pool: int, rate: float, what: str) -> Cell:
    """A cell; its colour is the square root of its share, as most shares are small."""
    if not pool:
        return Cell("")
    hint = f"{what}: {count(got)} of {count(pool)} samples, {fixed(got / pool / rate, 1)} × the share of the whole pool"
    return Cell(percent(got / pool, 0), float((got / pool) ** 0.5), hint)
