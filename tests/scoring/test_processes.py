"""The score table is the same for one process, two, two of a group, and two that are killed again and again."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from ml_collections import ConfigDict

from mmssr_jax import main
from mmssr_jax.core import tables
from mmssr_jax.core.stage import StageContext
from mmssr_jax.core.workdir import Workdir
from mmssr_jax.training.bundle import export_bundle
from tests.small import bundle

pytestmark = pytest.mark.slow

SAMPLES, SHARDS, KILLS = 200, 100, 20

CONFIG = """
from ml_collections import ConfigDict

def get_config():
    c = ConfigDict()
    c.stages = ("score",)
    c.scorer = {"max_prefix": 240, "holdout": 0.0}
    c.score = {
        "model": "MODEL", "shards": SHARDS, "details": True, "quality": {"samples": 8, "pairs": 2},
        "buckets": {"rows": 4, "lengths": (512, 704), "images": (0, 4)},
    }
    return c
"""


class Case:
    """A pool, a scorer, and the program over them in any number of processes."""

    def __init__(self, folder: Path, repo: Path):
        self.folder, self.repo = folder, repo
        export_bundle(folder / "model", bundle())
        text = CONFIG.replace("MODEL", str(folder / "model")).replace("SHARDS", str(SHARDS))
        (folder / "config.py").write_text(text)
        pool = ConfigDict({"pool": {"synthetic": {"size": SAMPLES, "seed": 3}, "packed": True}})
        main.run_stages(StageContext(config=pool, workdir=Workdir(folder / "base")), ["ingest"])

    def workdir(self, name: str) -> Path:
        """A copy of the pool's workdir."""
        subprocess.run(["cp", "-r", self.folder / "base", self.folder / name], check=True)
        return self.folder / name

    def flags(self, workdir: Path) -> list[str]:
        return [f"--config={self.folder / 'config.py'}", f"--workdir={workdir}"]

    @property
    def environment(self) -> dict[str, str]:
        """One CPU device, and one compilation cache for all."""
        cache = {"JAX_COMPILATION_CACHE_DIR": str(self.folder / "compiled")}
        return {**os.environ, **cache, "JAX_PLATFORMS": "cpu", "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false"}

    def start(self, workdir: Path) -> subprocess.Popen:
        command = [sys.executable, "-m", "mmssr_jax.main", *self.flags(workdir)]
        return subprocess.Popen(command, cwd=self.repo, env=self.environment, stderr=subprocess.DEVNULL)

    def launch(self, workdir: Path, *more: str) -> int:
        command = [sys.executable, "launch/local.py", "--processes=2", *more, "--", *self.flags(workdir)]
        return subprocess.run(command, cwd=self.repo, env=self.environment, timeout=500).returncode


@pytest.fixture(scope="module")
def case(tmp_path_factory: pytest.TempPathFactory, repo: Path) -> Case:
    return Case(tmp_path_factory.mktemp("processes"), repo)


@pytest.fixture(scope="module")
def expected(case: Case) -> dict[str, bytes]:
    workdir = case.workdir("one")
    assert case.start(workdir).wait() == 0
    return _written(workdir)


def _written(workdir: Path) -> dict[str, bytes]:
    folders = (workdir / "scores", workdir / "results", workdir / "features")
    paths = [p for f in folders for p in f.rglob("*") if p.is_file()]
    return {str(p.relative_to(workdir)): p.read_bytes() for p in paths}


@pytest.mark.parametrize("flags", [(), ("--joined",)], ids=["by hand", "one group"])
def test_two_processes_write_what_one_does(case: Case, expected, flags):
    workdir = case.workdir("two" + "".join(flags))
    assert case.launch(workdir, *flags) == 0
    assert _written(workdir) == expected
    rows = {r["step"] for r in map(json.loads, (workdir / "metrics" / "score.jsonl").read_text().splitlines())}
    assert rows == set(range(SHARDS))


def test_a_group_that_loses_a_member_ends_and_goes_on(case: Case, expected):
    workdir = case.workdir("group")
    command = [sys.executable, "launch/local.py", "--processes=2", "--joined", "--", *case.flags(workdir)]
    group = subprocess.Popen(command, cwd=case.repo, env=case.environment, stderr=subprocess.DEVNULL)
    _wait_for_part(workdir, 1)
    children = Path(f"/proc/{group.pid}/task/{group.pid}/children").read_text().split()
    os.kill(int(children[0]), signal.SIGKILL)
    assert group.wait(timeout=120) != 0
    assert case.launch(workdir, "--joined") == 0
    assert _written(workdir) == expected


def test_killed_twenty_times(case: Case, expected):
    rng = random.Random(0)
    workdir, kills = case.workdir("killed"), 0
    while kills < KILLS:
        there = _parts(workdir)
        assert there < SHARDS, "it was faster than the kills"
        pair = [case.start(workdir), case.start(workdir)]
        _wait_for_part(workdir, there + 1)
        for child in rng.sample(pair, 2):
            time.sleep(rng.uniform(0.0, 0.1))  # a shard takes about as long
            child.send_signal(signal.SIGKILL)
            kills += 1
        for child in pair:
            child.wait()
    assert case.launch(workdir) == 0
    assert _written(workdir) == expected
    ids = tables.read_parts(workdir / "scores")["id"].to_pylist()
    assert len(ids) == len(set(ids))


def _parts(workdir: Path) -> int:
    return len(list((workdir / "scores").glob("part-*.parquet")))


def _wait_for_part(workdir: Path, count: int) -> None:
    end = time.monotonic() + 300
    while _parts(workdir) < count:
        assert time.monotonic() < end, "no part comes"
        time.sleep(0.01)
