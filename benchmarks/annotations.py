"""Selecting by annotations in the shape of DataComp-VLM's small pool: time and memory.

    python benchmarks/annotations.py --rows=120940134 --fields=14                      # ids.txt and selection.parquet
    python benchmarks/annotations.py --form=json --shards=100 --rows=990500 --fields=167 --job=join

The generated files stand for `mlfoundations/dcvlm_pool_small_annotations`: shards of 9,909 rows in a folder per source,
keys of 32 hex digits, numeric fields between 0 and 1, up to 167 a row (the last sources lack some). `select` runs the
select stage without a pool on all fields; `join` joins all fields to a table of the same ids in another order. Prints
one JSON line:

    gib              of the generated files
    seconds          of the job, from files to files (or to columns in memory); `generate_seconds` apart
    cpu_seconds      of that, processor time, which other programs on the machine do not affect
    peak_mib         peak memory of the process; generating takes less than the job
    selected         ids written, or values joined

Measured on two cores that other programs shared (a load of 20 to 30): `select` of 10 % by all of 14 fields, Parquet

    rows             10 M       30 M       60 M
    cpu_seconds      11         35         70
    seconds          53         153        313
    peak_mib         1,607      4,256      7,880

and all 120,940,134 rows, 10.3 GiB, on two quiet cores: 136 cpu_seconds, 140 seconds, 15,664 MiB. That is 127 to 136 MiB
a million rows: 36 bytes a row for the ids, 56 for the fields, 8 for the order among equal rows, 8 for sources, the rest
for sorting. `join` of
167 fields on 100 shards of JSON (990,900 rows, 3.3 GiB): 137 processor seconds, 674 seconds, 1,139 MiB.
"""

from __future__ import annotations

import json
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from absl import app, flags

from mmssr_jax.core.memory import peak_mib
from mmssr_jax.core.stage import StageContext
from mmssr_jax.core.workdir import Workdir
from mmssr_jax.selection.read_scores import join_features, read_numbers
from mmssr_jax.selection.tie_break import mix
from mmssr_jax.stages.select import stage as select_stage

_ROWS = flags.DEFINE_integer("rows", 2_600_000, "rows of all shards", lower_bound=1)
_SHARDS = flags.DEFINE_integer("shards", None, "number of shards; by default of 9,909 rows each", lower_bound=1)
_FIELDS = flags.DEFINE_integer("fields", 14, "numeric fields of a row", lower_bound=1)
_FORM = flags.DEFINE_enum("form", "parquet", ["parquet", "json"], "the files' form")
_JOB = flags.DEFINE_enum("job", "select", ["select", "join"], "what is measured")
_RATIO = flags.DEFINE_float("ratio", 0.1, "how much to select", lower_bound=0, upper_bound=1)
_FOLDER = flags.DEFINE_string("folder", None, "where the files are generated; by default a temporary folder")

SOURCES, ROWS_PER_SHARD, LACKING = 166, 9_909, 3
_DIGITS = np.frombuffer(b"0123456789abcdef", np.uint8)
_NUMBERS = [f"0.{n:04d}" for n in range(10_000)]


def keys(begin: int, count: int) -> np.ndarray:
    """uint8 [count, 32]: keys as hex digits, all different."""
    number = np.arange(begin, begin + count, dtype=np.uint64)
    halves = np.stack([mix(number), mix(number ^ np.uint64(1 << 40))], axis=1).astype(">u8").view(np.uint8)
    return np.stack([_DIGITS[halves >> 4], _DIGITS[halves & 15]], axis=2).reshape(count, 32)


def key_array(text: np.ndarray) -> pa.Array:
    """Keys, uint8 [count, 32], as Arrow strings [count]."""
    offsets = np.arange(len(text) + 1, dtype=np.int32) * text.shape[1]
    return pa.StringArray.from_buffers(len(text), pa.py_buffer(offsets), pa.py_buffer(text.tobytes()))


def names(fields: int) -> list[str]:
    """The names of the fields."""
    return [f"field_{n:03d}" for n in range(fields)]


def shards(rows: int, count: int) -> Iterator[tuple[int, int, int, str]]:
    """Number, first row, number of rows and place of each shard, such as "source_003/000000"."""
    ends = np.linspace(0, rows, count + 1).astype(int)
    per_source = -(-count // SOURCES)
    for shard in range(count):
        place = f"source_{shard // per_source:03d}/{shard % per_source:06d}"
        yield shard, int(ends[shard]), int(ends[shard + 1] - ends[shard]), place


def generate(folder: Path, *, rows: int, count: int, fields: int, form: str) -> int:
    """Writes the shards and returns their size in bytes."""
    size = 0
    for shard, begin, number, place in shards(rows, count):
        path = folder / f"{place}.{form}"
        path.parent.mkdir(parents=True, exist_ok=True)
        rng = np.random.default_rng(shard)
        have = names(fields - LACKING if shard % 10 == 9 and fields > LACKING else fields)
        if form == "parquet":
            columns = rng.random((len(have), number), dtype=np.float32)
            table = pa.table({"__key__": key_array(keys(begin, number)), **dict(zip(have, columns, strict=True))})
            pq.write_table(table, path, compression="none", use_dictionary=False, write_statistics=False)
        else:
            row = "{" + ", ".join(f'"{name}": %s' for name in have) + ', "lang": "en", "missing": null}'
            values = rng.integers(0, len(_NUMBERS), (number, len(have))).tolist()
            text = [key.tobytes().decode() for key in keys(begin, number)]
            lines = (f'"{k}": {row % tuple(_NUMBERS[v] for v in vs)}' for k, vs in zip(text, values, strict=True))
            path.write_text("{" + ",\n".join(lines) + "}")
        size += path.stat().st_size
    return size


def select(folder: Path, work: Path, fields: int, ratio: float) -> int:
    """Runs the select stage on all fields; returns the number of ids."""
    selection = {
        "method": "ready_made_ratings", "ratings": tuple(names(fields)), "minimum": 0.02,
        "features": (str(folder),), "budget": {"ratio": ratio},
    }  # fmt: skip
    select_stage.run(StageContext({"select": {"ids_only": True, "selections": {"main": selection}}}, Workdir(work)))
    chosen = Workdir(work).selection("main")
    assert (chosen / "ids.txt").exists()
    return pq.read_metadata(chosen / "selection.parquet").num_rows


def join(folder: Path, work: Path, rows: int, fields: int) -> int:
    """Joins all fields to the keys in another order; returns the number of values."""
    order = np.random.default_rng(0).permutation(rows)
    pq.write_table(pa.table({"id": key_array(keys(0, rows)).take(pa.array(order))}), work / "ids.parquet")
    table = join_features(read_numbers(work / "ids.parquet", ()), folder, names=names(fields))
    return sum(int(np.count_nonzero(~np.isnan(column))) for column in table.features.values())


def main(argv: list[str]) -> None:
    """Generates, measures, prints."""
    del argv
    rows, fields, form = _ROWS.value, _FIELDS.value, _FORM.value
    count = _SHARDS.value or -(-rows // ROWS_PER_SHARD)
    with tempfile.TemporaryDirectory(dir=_FOLDER.value) as root:
        folder, work = Path(root) / "annotations", Path(root) / "work"
        work.mkdir()
        begin = time.perf_counter()
        size = generate(folder, rows=rows, count=count, fields=fields, form=form)
        generated = time.perf_counter() - begin
        before = peak_mib()
        begin, cpu = time.perf_counter(), time.process_time()
        if _JOB.value == "select":
            selected = select(folder, work, fields, _RATIO.value)
        else:
            selected = join(folder, work, rows, fields)
        seconds, cpu = time.perf_counter() - begin, time.process_time() - cpu
        result = {
            "job": _JOB.value, "form": form, "rows": rows, "shards": count, "fields": fields, "gib": size / 2**30,
            "generate_seconds": generated, "seconds": seconds, "cpu_seconds": cpu, "peak_mib": peak_mib(),
            "peak_mib_before": before, "selected": selected,
        }  # fmt: skip
        print(json.dumps({k: round(v, 2) if isinstance(v, float) else v for k, v in result.items()}))
        shutil.rmtree(folder)


if __name__ == "__main__":
    app.run(main)
