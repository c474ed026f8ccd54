"""Every stage of the small experiment in one process, in two and in four: the same files, or the last digits apart.

Sums over processes are added up in another order than those of one, so parameters, and what is computed from them,
agree but for rounding; everything else has the same bytes.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pyarrow as pa
import pytest

from mmssr_jax.core import tables
from mmssr_jax.training.bundle import export_bundle, load_bundle
from tests.e2e.contents import contents
from tests.process_group import ProcessGroup
from tests.small import bundle

pytestmark = pytest.mark.slow

TRAINED = ("scorer", "mmssr_0", "random_0")
CONFIG = """
from tests.e2e import small_config

def get_config():
    c = small_config.get_config()
    del c.train.phases["again"]
    for phase in (c.train_scorer.phase, *c.train.phases.values()):
        phase.update({"rows": 4, "global_packing": True})  # the batches of one process, for up to four
    for phase in c.train.phases.values():
        phase.steps = 2
    c.train_scorer.phase.steps = 16
    c.score.quality.update({"samples": 16, "pairs": 4})
    return c
"""
ROUNDED = ("scores/part-", "selections/mmssr/selection.parquet", "results/scorer.json", "metrics/", "checkpoints/")


class Runs:
    """Workdirs of the experiment by the number of processes that filled them."""

    def __init__(self, folder: Path):
        self._folder = folder
        export_bundle(folder / "base", bundle())
        (folder / "config.py").write_text(CONFIG)

    def finish(self, processes: int) -> Path:
        """The workdir, after a run of so many processes."""
        workdir = self._folder / f"{processes}"
        program = [sys.executable, "-m", "mmssr_jax.main", f"--config={self._folder / 'config.py'}"]
        command = [*program, f"--workdir={workdir}", f"--config.base={self._folder / 'base'}"]
        compiled = {"JAX_COMPILATION_CACHE_DIR": str(self._folder / "compiled")}
        ProcessGroup(command, processes, logs=workdir.with_suffix(".logs"), env=compiled).finish(timeout=900)
        return workdir


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Runs:
    return Runs(tmp_path_factory.mktemp("runs"))


@pytest.fixture(scope="module")
def alone(runs: Runs) -> Path:
    return runs.finish(1)


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("processes", [2, 4])
def test_a_group_leaves_what_one_process_leaves(runs: Runs, alone: Path, processes: int):
    workdir = runs.finish(processes)
    found, expected = contents(workdir), contents(alone)
    assert found.keys() == expected.keys()
    assert [name for name in found if found[name] != expected[name] and not name.startswith(ROUNDED)] == []
    for run in TRAINED:
        _same_parameters(workdir / "checkpoints" / run, alone / "checkpoints" / run)
        _same_numbers(_losses(workdir, run), _losses(alone, run), atol=1e-4)
    scores, others = (tables.read_parts(folder / "scores") for folder in (workdir, alone))
    computed = [field.name for field in others.schema if pa.types.is_floating(field.type)]
    assert set(tables.capability_slugs(others)) < {*computed}
    assert scores.drop_columns(computed).equals(others.drop_columns(computed))
    np.testing.assert_allclose(tables.matrix(scores, computed), tables.matrix(others, computed), atol=1e-4)
    quality = [json.loads((folder / "results" / "scorer.json").read_text()) for folder in (workdir, alone)]
    _same_numbers(*quality, atol=1e-3)


def _same_parameters(found: Path, expected: Path) -> None:
    after, others = (jax.tree.leaves(load_bundle(run).params) for run in (found, expected))
    for a, b in zip(after, others, strict=True):
        np.testing.assert_allclose(np.asarray(a), np.asarray(b), atol=1e-3)


def _losses(workdir: Path, run: str) -> list[dict[str, Any]]:
    rows = [json.loads(line) for line in (workdir / "metrics" / f"{run}.jsonl").read_text().splitlines()]
    return [{k: v for k, v in row.items() if k != "time"} for row in rows if row["name"] == "loss"]


def _same_numbers(found: Any, expected: Any, *, atol: float) -> None:
    """Trees of the same structure and texts, whose numbers are close."""
    leaves, others = (jax.tree.leaves_with_path(tree) for tree in (found, expected))
    assert [path for path, _ in leaves] == [path for path, _ in others]
    for (path, a), (_, b) in zip(leaves, others, strict=True):
        assert a == (b if isinstance(b, str) else pytest.approx(b, abs=atol)), jax.tree_util.keystr(path)
