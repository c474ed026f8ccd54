"""One model spread over two processes gives the scores and answers of one process, killed in between or not."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from ml_collections import ConfigDict

from mmssr_jax import main
from mmssr_jax.core import files, tables
from mmssr_jax.core.stage import StageContext
from mmssr_jax.core.workdir import Workdir
from mmssr_jax.training.bundle import describe
from mmssr_jax.training.checkpoint import Checkpoints
from tests.process_group import ProcessGroup
from tests.small import bundle
from tests.xla_flags import QUICK

pytestmark = pytest.mark.slow

SHARDS = 6
KINDS = ("likelihood", "embedding", "gradients")
CONFIG = """
from ml_collections import ConfigDict

def get_config():
    c = ConfigDict()
    c.stages = ("score", "evaluate")
    c.mesh = MESH
    c.base = "MODEL"
    c.scorer = {"max_prefix": 240, "holdout": 0.0}
    c.score = {
        "model": "MODEL", "shards": SHARDS, "details": True, "agreement": 2, "quality": {"samples": 4, "pairs": 1},
        "precision": "PRECISION", "features": FEATURES,
        "buckets": {"rows": 4, "lengths": (704,), "images": (4,)},
    }
    c.evaluate = {
        "benchmarks": {"found": {"synthetic": {"task": "grounding", "questions": 10}, "instruction": ""}},
        "runs": ("base",), "max_new_tokens": 4, "save_every": 4,
        "answerer": {"rows": 4, "images": (1,), "length_step": 256},
    }
    return c
"""


class Case:
    """A pool, a model as training leaves it, and the program over them on a mesh."""

    def __init__(self, folder: Path):
        self.folder = folder
        model = bundle()
        describe(folder / "model", model.config, model.tokenizer)
        with Checkpoints(folder / "model") as checkpoints:
            checkpoints.save_params(1, model.params)
        files.write_json(folder / "model" / "manifest.json", {"stage": "train", "config": {}, "inputs": {}})
        pool = ConfigDict({"pool": {"synthetic": {"size": 24, "seed": 3}, "packed": True}})
        main.run_stages(StageContext(config=pool, workdir=Workdir(folder / "pool")), ["ingest"])

    def start(
        self, name: str, mesh: dict[str, int], *, processes: int, devices: int = 1, precision: str = "model"
    ) -> ProcessGroup:
        """Starts the program in the workdir `name`, or goes on with it."""
        workdir, config = self.folder / name, self.folder / f"{name}.py"
        if not workdir.exists():
            subprocess.run(["cp", "-r", self.folder / "pool", workdir], check=True)
        text = CONFIG.replace("MESH", str(mesh)).replace("MODEL", str(self.folder / "model"))
        text = text.replace("PRECISION", precision).replace(
            "FEATURES", str({"kinds": KINDS, "max_length": 640} if precision == "model" else {})
        )
        config.write_text(text.replace("SHARDS", str(SHARDS)))
        group = ["launch/local.py", f"--processes={processes}", "--joined", "--"]
        program = ["-m", "mmssr_jax.main"] if processes == 1 else group
        env = {
            "JAX_COMPILATION_CACHE_DIR": str(self.folder / "compiled"),
            "XLA_FLAGS": f"{QUICK} --xla_force_host_platform_device_count={devices} --xla_cpu_multi_thread_eigen=false",
        }
        command = [sys.executable, *program, f"--config={config}", f"--workdir={workdir}"]
        return ProcessGroup(command, logs=self.folder / f"{name}.logs", env=env)

    def finish(self, name: str, mesh: dict[str, int], *, processes: int, devices: int = 1, **settings: str) -> Path:
        """Runs it to its end; the workdir."""
        self.start(name, mesh, processes=processes, devices=devices, **settings).finish()
        return self.folder / name


@pytest.fixture(scope="module")
def case(tmp_path_factory: pytest.TempPathFactory) -> Case:
    return Case(tmp_path_factory.mktemp("split"))


@pytest.fixture(scope="module")
def alone(case: Case) -> Path:
    return case.finish("alone", {"data": 1}, processes=1)


@pytest.fixture(scope="module")
def split(case: Case) -> Path:
    return case.finish("split", {"data": 1, "fsdp": 2}, processes=2)


def assert_same_results(found: Path, alone: Path) -> None:
    """Equal but for the last digits of scores and likelihoods."""
    table, expected = (tables.read_parts(folder / "scores") for folder in (found, alone))
    slugs = tables.capability_slugs(expected)
    computed = [*slugs, "nll"]
    assert table.drop_columns(computed).equals(expected.drop_columns(computed))
    np.testing.assert_allclose(tables.matrix(table, computed), tables.matrix(expected, computed), atol=1e-4)
    digits, expected = (tables.read_parts(folder / "features" / "digits") for folder in (found, alone))
    assert digits.select(["id", *slugs]).equals(expected.select(["id", *slugs]))
    for kind in KINDS:
        table, expected = (tables.read_parts(folder / "features" / kind) for folder in (found, alone))
        assert table["id"].equals(expected["id"])
        for name in table.column_names[1:]:
            values, others = (np.array(t[name].to_pylist(), np.float64) for t in (table, expected))
            np.testing.assert_allclose(values, others, atol=1e-4, err_msg=f"{kind}: {name}")
    answers, expected = (files.read_parquet(f / "predictions" / "base" / "found.parquet") for f in (found, alone))
    assert answers.equals(expected)
    assert (found / "results" / "base.json").read_bytes() == (alone / "results" / "base.json").read_bytes()


def written(workdir: Path) -> dict[str, bytes]:
    folders = (workdir / name for name in ("scores", "features", "predictions", "results"))
    return {str(p.relative_to(workdir)): p.read_bytes() for f in folders for p in f.rglob("*") if p.is_file()}


def test_a_model_of_which_each_process_has_half(split, alone):
    assert_same_results(split, alone)
    steps = [json.loads(line)["step"] for line in (split / "metrics" / "score.jsonl").read_text().splitlines()]
    assert sorted(set(steps)) == list(range(SHARDS))
    assert len(steps) == len(set(steps)) * 4, "every shard is written once, by one process"


@pytest.mark.parametrize(
    ("mesh", "devices"),
    [
        pytest.param({"data": 1, "tensor": 2}, 1, id="heads over processes"),
        pytest.param({"data": 1, "fsdp": 2, "tensor": 2}, 2, id="four devices in two processes"),
        pytest.param({"data": 2, "fsdp": 2}, 2, id="a copy in each process"),
    ],
)
def test_other_meshes(case: Case, alone, mesh, devices):
    found = case.finish(f"mesh{len(list(case.folder.glob('mesh*.py')))}", mesh, processes=2, devices=devices)
    assert_same_results(found, alone)


def test_int8_weights_over_processes(case: Case, alone):
    """The scores of int8 weights are those of one process, and the manifest has their agreement with float32."""
    mesh = {"data": 1, "fsdp": 2, "tensor": 2}
    split = case.finish("int8", mesh, processes=2, devices=2, precision="int8")
    one = case.finish("int8_alone", {"data": 1}, processes=1, precision="int8")
    found, expected, exact = (tables.read_parts(folder / "scores") for folder in (split, one, alone))
    slugs = tables.capability_slugs(expected)
    np.testing.assert_allclose(tables.matrix(found, slugs), tables.matrix(expected, slugs), atol=1e-4)
    agreement, reference = (files.read_json(f / "scores" / "manifest.json")["agreement"] for f in (split, one))
    assert agreement == pytest.approx(reference, abs=1e-4)
    assert 0 < agreement["mean_difference"] < 0.02
    difference = np.abs(tables.matrix(found, slugs) - tables.matrix(exact, slugs))
    assert 0 < difference.mean() < 0.02


@pytest.mark.parametrize("victim", [0, 1])
def test_a_killed_member_ends_the_group_and_nothing_is_lost(case: Case, split, victim):
    name, mesh = f"killed{victim}", {"data": 1, "fsdp": 2}
    group = case.start(name, mesh, processes=2)
    group.wait_until(case.folder / name / "scores", "part-*.parquet")
    launcher = group.members[0]
    children = Path(f"/proc/{launcher.pid}/task/{launcher.pid}/children").read_text().split()
    os.kill(int(children[victim]), signal.SIGKILL)
    assert launcher.wait(timeout=120) != 0
    assert not (case.folder / name / "scores" / "manifest.json").exists()
    assert written(case.finish(name, mesh, processes=2)) == written(split)
