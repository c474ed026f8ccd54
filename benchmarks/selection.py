"""The run time of mmSSR selection, compared with plain sorting.

    python benchmarks/selection.py --rows=2600000 --ratio=0.1

A synthetic score table: 14 capabilities, 90 sources of Zipf-like size, 1-3 of 9 styles per row. Prints one JSON line:

    seconds            table in memory (columns and codes) to ordered picks, including hashing the ids for ties
    cpu_seconds        of that, processor time, which other programs on the machine do not affect
    sort_floor         14 plain numpy sorts of such a column, in the same run
    peak_mib           peak memory of the process up to then, including tables and libraries
    from_parquet       Parquet parts to selection.parquet and ids.txt (--files)
    files_peak_mib     peak memory of the process at the end

Measured on two cores of an AMD EPYC with AVX-512, otherwise idle: 2.6 M rows 1.1 s at 10 % and 1.7 s at 30 %
(integer scores the same), 410 and 480 MiB, 2.1 s from Parquet to files. Without AVX2 and AVX-512: 1.4 and 2.2
processor seconds, the floor 6 s. 100 M rows at 10 %: 57 processor seconds, 11.2 GiB, tables included. Memory grows by
120 bytes a row at 14 capabilities and ids of 16 letters (56 scores, 20 id, 8 tie key, 7 source and styles, the rest row
lists and temporary arrays), so a billion rows take about 115 GiB on one host; beyond its memory numpy raises
MemoryError.
"""

from __future__ import annotations

import json
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
from absl import app, flags

from mmssr_jax.core import files, tables
from mmssr_jax.core.memory import peak_mib
from mmssr_jax.core.vocabulary import SLUGS, STYLES
from mmssr_jax.selection.base import Budget
from mmssr_jax.selection.candidates import build
from mmssr_jax.selection.config import SelectionConfig
from mmssr_jax.selection.id_files import write_sorted
from mmssr_jax.selection.read_scores import read_scores
from mmssr_jax.selection.table import ScoreTable

_ROWS = flags.DEFINE_integer("rows", 2_600_000, "rows of the score table", lower_bound=1)
_RATIO = flags.DEFINE_float("ratio", 0.1, "how much to select", lower_bound=0, upper_bound=1)
_INTEGER = flags.DEFINE_bool("integer", False, "integer scores, as the official scorer's: ties dominate")
_FILES = flags.DEFINE_bool("files", True, "also time Parquet parts to files")
_SEED = flags.DEFINE_integer("seed", 0, "of the synthetic table")

SOURCES, SLOTS, PARTS = 90, 3, 16
_ROWS_AT_ONCE = 1 << 20


def make_ids(rows: int) -> pa.ChunkedArray:
    """Ids such as "sample-000000042", without a Python string per row."""
    prefix, digits, chunks = b"sample-", 9, []
    for begin in range(0, rows, _ROWS_AT_ONCE):
        number = np.arange(begin, min(begin + _ROWS_AT_ONCE, rows))
        text = np.empty((len(number), len(prefix) + digits), np.uint8)
        text[:, : len(prefix)] = np.frombuffer(prefix, np.uint8)
        for place in range(digits):
            text[:, -1 - place] = ord("0") + number // 10**place % 10
        offsets = np.arange(len(number) + 1, dtype=np.int32) * text.shape[1]
        buffers = [None, pa.py_buffer(offsets), pa.py_buffer(text.tobytes())]
        chunks.append(pa.StringArray.from_buffers(len(number), buffers[1], buffers[2]))
    return pa.chunked_array(chunks, pa.string())


def make_table(rows: int, *, integer: bool, seed: int) -> ScoreTable:
    """The synthetic score table."""
    rng = np.random.default_rng(seed)
    scores = {}
    for slug in SLUGS:
        column = rng.random(rows, dtype=np.float32)
        column *= column
        column *= 5
        scores[slug] = np.rint(column, out=column) if integer else column
    share = 1 / np.arange(1, SOURCES + 1)
    source = np.searchsorted(np.cumsum(share / share.sum())[:-1], rng.random(rows, dtype=np.float32)).astype(np.int32)
    styles = np.full((SLOTS, rows), -1, np.int8).T
    styles[:, 0] = rng.integers(0, len(STYLES), rows, dtype=np.int8)
    used = rng.integers(1, SLOTS + 1, rows, dtype=np.int8)
    for slot in range(1, SLOTS):  # differs from the styles of the slots before
        styles[:, slot] = np.where(used > slot, (styles[:, 0] + slot * 2) % len(STYLES), -1)
    names = tuple(f"source-{i:02d}" for i in range(SOURCES))
    return ScoreTable(make_ids(rows), source, names, styles, tuple(sorted(STYLES)), scores)


def write_parts(table: ScoreTable, folder: Path) -> None:
    """Writes the table in parts, in the layout of `core.tables`."""
    at = np.linspace(0, len(table), PARTS + 1).astype(int)
    names, styles = pa.array(table.source_names), pa.array(table.style_names)
    for part in range(PARTS):
        rows = slice(at[part], at[part + 1])
        codes = table.styles[rows]
        offsets = np.concatenate(([0], np.cumsum((codes >= 0).sum(axis=1)))).astype(np.int32)
        lists = pa.ListArray.from_arrays(pa.array(offsets), styles.take(pa.array(codes[codes >= 0])))
        columns = {"id": table.ids[rows].combine_chunks(), "source": names.take(pa.array(table.source[rows]))}
        columns |= {name: pa.array(column[rows]) for name, column in table.scores.items()}
        files.write_parquet(folder / tables.part_name(part, PARTS), pa.table({**columns, "styles": lists}))


def select(table: ScoreTable, ratio: float, seed: int) -> tuple[float, float, pa.Table]:
    """Seconds and processor seconds to ordered picks, and the picks."""
    begin, cpu = time.perf_counter(), time.process_time()
    config = SelectionConfig(budget=Budget(ratio=ratio), seed=seed)
    candidates, _ = build(table, config, pool_size=len(table))
    selection = config.selector.select(candidates, [config.budget])
    seconds = time.perf_counter() - begin, time.process_time() - cpu
    return *seconds, selection.to_arrow(table)


def main(argv: list[str]) -> None:
    if len(argv) > 1:
        raise app.UsageError(f"unknown arguments: {argv[1:]}")
    table = make_table(_ROWS.value, integer=_INTEGER.value, seed=_SEED.value)
    result: dict[str, float | int | bool] = {
        "rows": len(table),
        "ratio": _RATIO.value,
        "integer": _INTEGER.value,
        "capabilities": len(SLUGS),
    }
    result["seconds"], result["cpu_seconds"], picks = select(table, _RATIO.value, seed=0)
    result["picks"] = picks.num_rows
    result["peak_mib"] = round(peak_mib())
    begin = time.perf_counter()
    for column in table.scores.values():
        np.sort(column)
    result["sort_floor"] = time.perf_counter() - begin
    if _FILES.value:
        with tempfile.TemporaryDirectory() as folder:
            write_parts(table, Path(folder) / "scores")
            del table, picks
            begin = time.perf_counter()
            table = read_scores(Path(folder) / "scores")
            result["read_seconds"] = time.perf_counter() - begin
            _, _, picks = select(table, _RATIO.value, seed=0)
            files.write_parquet(Path(folder) / "selection.parquet", picks)
            write_sorted(Path(folder) / "ids.txt", picks["id"])
            result["from_parquet"] = time.perf_counter() - begin
        result["files_peak_mib"] = round(peak_mib())
    print(json.dumps({k: round(v, 3) if isinstance(v, float) else v for k, v in result.items()}))


if __name__ == "__main__":
    app.run(main)
