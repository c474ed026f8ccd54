"""Seconds and peak memory of the published selection methods on random features.

    python benchmarks/rivals.py --rows=100000 --dimensions=512
    python benchmarks/rivals.py --rows=1000000 --dimensions=512
    python benchmarks/rivals.py --rows=10000 --dimensions=2048 --layers=5 --methods=coincide

Every method runs in a process of its own. A line of progress per method goes to stderr; at the end one JSON line is
printed:

    seconds     features in memory to ordered picks, by method
    cpu_s       seconds of CPU of the same, of all threads: hardly depends on what else the machine does
    peak_mib    peak memory of the process, libraries and features included
    input_mib   the features that the method reads
    libraries_mib, floor_mib   peak memory of the process before the features were made, and before the method began

COINCIDE reads an image and a text part of `dimensions` for each of `layers` layers: 2,048 and 5 are its published size,
20,480 columns. The time of some methods grows with the square of the rows: of those with k-means, which uses the
published number of clusters for a row, so that clusters and rows grow together, and of E5-V's walk, which compares all
rows with all kept ones several times. These are measured with at most `quadratic_rows` rows; for more, their entry is
derived from those by the ratio f of the rows, and marked as such:

    derived_from    the rows that were measured
    measured        the entry for these
    seconds, cpu_s  times f^2, which is too high for what else the method does
    *_mib           what exceeds the libraries, times f
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Sequence

import numpy as np
import pyarrow as pa
from absl import app, flags

from mmssr_jax.core.memory import peak_mib
from mmssr_jax.selection.base import Budget, Candidates
from mmssr_jax.selection.method import Selector, load_method
from mmssr_jax.selection.table import ScoreTable
from mmssr_jax.selection.tie_break import tie_keys

_ROWS = flags.DEFINE_integer("rows", 100_000, "rows of the pool", lower_bound=1)
_DIMENSIONS = flags.DEFINE_integer("dimensions", 512, "of every vector", lower_bound=1)
_LAYERS = flags.DEFINE_integer("layers", 1, "of COINCIDE", lower_bound=1)
_RATIO = flags.DEFINE_float("ratio", 0.1, "how much to select", lower_bound=0, upper_bound=1)
_METHODS = flags.DEFINE_list("methods", [], "the methods; all by default")
_TIMEOUT = flags.DEFINE_integer("timeout", 3600, "seconds for one method", lower_bound=1)
_ONE = flags.DEFINE_string("one", None, "run this method in this process; used by the program itself")

_QUADRATIC_ROWS = flags.DEFINE_integer(
    "quadratic_rows", 100_000, "of methods whose time grows with the square of the rows, at most", lower_bound=1
)

SOURCES, QUERIES, CHECKPOINTS = 10, 8, 7
QUADRATIC = ("e5v", "e5v_walk", "xmas", "presel", "coincide")
SETTINGS: dict[str, dict[str, object]] = {
    "ppl": {},
    "clip_score": {},
    "visual_dependency": {},
    "ready_made_ratings": {"ratings": ("similarity",), "minimum": 0.0},
    "icons": {"voters": tuple(f"query_{i}" for i in range(QUERIES))},
    "rds_plus": {"tasks": {"task": tuple(f"query_{i}" for i in range(QUERIES))}},
    "scalselect": {"feature": "embedding"},
    "deita": {},
    "e5v": {},
    "e5v_walk": {"rule": "walk"},
    "xmas": {"trajectory": "trajectory"},
    "presel": {},
    "coincide": {},
}


def make_features(names: tuple[str, ...], rows: int, dimensions: int) -> dict[str, np.ndarray]:
    """Random features: numbers float32 [rows], vectors float32 [rows, d] in a thousand loose lumps."""
    rng = np.random.default_rng(0)
    centre = rng.normal(size=(1000, dimensions)).astype(np.float32)
    lump = rng.integers(0, 1000, rows)
    features = {}
    for name in names:
        if name == "trajectory":
            features[name] = rng.random((rows, CHECKPOINTS), np.float32)
        elif name in ("embedding", *(n for n in names if n.startswith("layer"))):
            matrix = rng.standard_normal((rows, dimensions), np.float32)
            for begin in range(0, rows, 1 << 14):
                matrix[begin : begin + (1 << 14)] += centre[lump[begin : begin + (1 << 14)]]
            features[name] = matrix
        else:
            features[name] = rng.random(rows, np.float32)
    if "loss_with_question" in features:
        features["loss_with_question"][rng.random(rows) > 0.05] = np.nan
    return features


def selector_of(name: str) -> Selector:
    """A method with the settings of the benchmark."""
    settings = SETTINGS[name]
    if name == "coincide":
        parts = tuple(f"layer{k}_{part}" for k in range(_LAYERS.value) for part in ("image", "text"))
        settings = {"parts": parts}
    return load_method(name.removesuffix("_walk"))(**settings)


def measure(name: str) -> dict[str, float]:
    """Runs one method."""
    libraries, rows, selector = round(peak_mib()), _ROWS.value, selector_of(name)
    features = make_features(selector.needs.features or (), rows, _DIMENSIONS.value)
    ids = pa.array([f"sample-{i:09d}" for i in range(rows)])
    source = np.arange(rows, dtype=np.int32) % SOURCES
    names = tuple(f"source-{i}" for i in range(SOURCES))
    table = ScoreTable(ids, source, names, np.zeros((rows, 0), np.int8), (), {}, features=features)
    candidates = Candidates(table, rows, tie_keys(ids, seed=0), np.ones(rows, bool))
    floor = round(peak_mib())
    begin, cpu = time.perf_counter(), time.process_time()
    selection = selector.select(candidates, [Budget(ratio=_RATIO.value)])
    return {
        "seconds": round(time.perf_counter() - begin, 2),
        "cpu_s": round(time.process_time() - cpu, 2),
        "picks": len(selection),
        "input_mib": sum(column.nbytes for column in features.values()) >> 20,
        "libraries_mib": libraries,
        "floor_mib": floor,
        "peak_mib": round(peak_mib()),
    }


def derived(measured: dict[str, float], rows: int, to: int) -> dict[str, object]:
    """The entry of a method of `QUADRATIC` for `to` rows, from that for `rows`."""
    factor = to / rows
    libraries = measured["libraries_mib"]
    entry: dict[str, object] = {"derived_from": rows, "measured": measured}
    entry |= {name: round(measured[name] * factor**2) for name in ("seconds", "cpu_s")}
    entry |= {n: round(libraries + (measured[n] - libraries) * factor) for n in ("floor_mib", "peak_mib")}
    return entry | {"input_mib": round(measured["input_mib"] * factor)}


def run(name: str) -> object:
    """The entry of a method, measured in a process of its own."""
    rows = min(_ROWS.value, _QUADRATIC_ROWS.value) if name in QUADRATIC else _ROWS.value
    command = [sys.executable, __file__, *sys.argv[1:], f"--one={name}", f"--rows={rows}"]
    try:
        done = subprocess.run(command, stdout=subprocess.PIPE, check=True, timeout=_TIMEOUT.value)
    except subprocess.TimeoutExpired:
        return f"more than {_TIMEOUT.value} seconds"
    except subprocess.CalledProcessError as e:
        return f"exit status {e.returncode}"
    measured = json.loads(done.stdout.splitlines()[-1])
    return measured if rows == _ROWS.value else derived(measured, rows, _ROWS.value)


def progress_line(name: str, entry: object, rows: int) -> str:
    """What a method's entry says about its run, for a reader who waits for the others."""
    if not isinstance(entry, dict):
        return f"{name}: {entry}"
    rows, measured = entry.get("derived_from", rows), entry.get("measured", entry)
    rate = f", {rows / measured['seconds']:,.0f} rows/s" if measured["seconds"] else ""
    line = f"{name}: {rows:,} rows in {measured['seconds']:,} s{rate}, peak {measured['peak_mib']:,} MiB"
    return f"{line}; derived: {entry['seconds']:,} s" if measured is not entry else line


def run_all(names: Sequence[str]) -> dict[str, object]:
    """The entries of the methods, by name; each is reported when it ends."""
    entries: dict[str, object] = {}
    for number, name in enumerate(names, 1):
        entries[name] = run(name)
        line = progress_line(name, entries[name], _ROWS.value)
        print(f"[{number}/{len(names)}] {line}", file=sys.stderr, flush=True)
    return entries


def main(argv: list[str]) -> None:
    if len(argv) > 1:
        raise app.UsageError(f"unknown arguments: {argv[1:]}")
    if _ONE.value:
        print(json.dumps(measure(_ONE.value)))
        return
    unknown = sorted(set(_METHODS.value) - set(SETTINGS))
    if unknown:
        raise app.UsageError(f"no method is called {unknown[0]!r}; there are {', '.join(SETTINGS)}")
    result: dict[str, object] = {"rows": _ROWS.value, "dimensions": _DIMENSIONS.value, "ratio": _RATIO.value}
    result |= run_all(_METHODS.value or list(SETTINGS))
    print(json.dumps(result))


if __name__ == "__main__":
    app.run(main)
