"""Seconds and peak memory of the published selection methods on random features.

    python benchmarks/rivals.py --rows=100000 --dimensions=512
    python benchmarks/rivals.py --rows=1000000 --methods=ppl,clip_score,visual_dependency,scalselect,icons,rds_plus
    python benchmarks/rivals.py --rows=10000 --dimensions=2048 --layers=5 --methods=coincide

Every method runs in a process of its own. Prints one JSON line:

    seconds     features in memory to ordered picks, by method
    cpu_s       seconds of CPU of the same, of all threads: hardly depends on what else the machine does
    peak_mib    peak memory of the process, libraries and features included
    input_mib   the features that the method reads
    floor_mib   peak memory of the process before the method began: libraries, ids, features

COINCIDE reads an image and a text part of `dimensions` for each of `layers` layers: 2,048 and 5 are its published size,
20,480 columns. k-means uses the published number of clusters for a row; its time grows with the square of the rows, as
clusters and rows grow together, so that a million rows take about 100 times as long as 100,000.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time

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

SOURCES, QUERIES, CHECKPOINTS = 10, 8, 7
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
    rows, selector = _ROWS.value, selector_of(name)
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
        "floor_mib": floor,
        "peak_mib": round(peak_mib()),
    }


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
    for name in _METHODS.value or SETTINGS:
        command = [sys.executable, __file__, *sys.argv[1:], f"--one={name}"]
        try:
            done = subprocess.run(command, stdout=subprocess.PIPE, check=True, timeout=_TIMEOUT.value)
            result[name] = json.loads(done.stdout.splitlines()[-1])
        except subprocess.TimeoutExpired:
            result[name] = f"more than {_TIMEOUT.value} seconds"
        except subprocess.CalledProcessError as e:
            result[name] = f"exit status {e.returncode}"
    print(json.dumps(result))


if __name__ == "__main__":
    app.run(main)
