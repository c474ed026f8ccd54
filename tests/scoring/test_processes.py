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
from tests.process_group import ProcessGroup
from tests.small import bundle
from tests.xla_flags import QUICK

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

    def __init__(self, folder: Path):
        self.folder = folder
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

    def start(self, workdir: Path, processes: int = 1) -> ProcessGroup:
        """Independent processes of the program."""
        return self._started(workdir, ["-m", "mmssr_jax.main"], processes)

    def launch(self, workdir: Path, *more: str) -> ProcessGroup:
        """The launcher, which starts two processes."""
        return self._started(workdir, ["launch/local.py", "--processes=2", *more, "--"])

    def _started(self, workdir: Path, program: list[str], processes: int = 1) -> ProcessGroup:
        env = {
            "JAX_COMPILATION_CACHE_DIR": str(self.folder / "compiled"),
            "XLA_FLAGS": f"{QUICK} --xla_cpu_multi_thread_eigen=false",
        }
        command = [sys.executable, *program, *self.flags(workdir)]
        return ProcessGroup(command, processes, logs=workdir.with_suffix(".logs"), joined=False, env=env)


@pytest.fixture(scope="module")
def case(tmp_path_factory: pytest.TempPathFactory) -> Case:
    return Case(tmp_path_factory.mktemp("processes"))


@pytest.fixture(scope="module")
def expected(case: Case) -> dict[str, bytes]:
    workdir = case.workdir("one")
    case.start(workdir).finish()
    return _written(workdir)


def _written(workdir: Path) -> dict[str, bytes]:
    folders = (workdir / "scores", workdir / "results", workdir / "features")
    paths = [p for f in folders for p in f.rglob("*") if p.is_file()]
    return {str(p.relative_to(workdir)): p.read_bytes() for p in paths}


@pytest.mark.parametrize("flags", [(), ("--joined",)], ids=["by hand", "one group"])
def test_two_processes_write_what_one_does(case: Case, expected, flags):
    workdir = case.workdir("two" + "".join(flags))
    case.launch(workdir, *flags).finish()
    assert _written(workdir) == expected
    rows = {r["step"] for r in map(json.loads, (workdir / "metrics" / "score.jsonl").read_text().splitlines())}
    assert rows == set(range(SHARDS))


def test_a_group_that_loses_a_member_ends_and_goes_on(case: Case, expected):
    workdir = case.workdir("group")
    group = case.launch(workdir, "--joined")
    group.wait_until(workdir / "scores", "part-*.parquet")
    launcher = group.members[0]
    children = Path(f"/proc/{launcher.pid}/task/{launcher.pid}/children").read_text().split()
    os.kill(int(children[0]), signal.SIGKILL)
    assert launcher.wait(timeout=120) != 0
    case.launch(workdir, "--joined").finish()
    assert _written(workdir) == expected


def test_processes_come_and_go(case: Case, expected):
    """One hangs in a shard, two join late, one of them dies, another one replaces it, and the one that hangs dies."""
    workdir = case.workdir("elastic")
    first = case.start(workdir)
    first.wait_until(workdir / "scores", "part-*.parquet")
    first.members[0].send_signal(signal.SIGSTOP)
    late = case.start(workdir, 2)
    late.wait_until(workdir / "scores", "part-*.parquet", _parts(workdir) + 5)
    late.kill(0)
    late.add()
    late.wait_until(workdir / "scores", "part-*.parquet", SHARDS - 1)  # the first one holds the last of them
    first.kill()
    late.finish()
    assert _written(workdir) == expected


def test_killed_twenty_times(case: Case, expected):
    rng = random.Random(0)
    workdir, kills = case.workdir("killed"), 0
    while kills < KILLS:
        there = _parts(workdir)
        assert there < SHARDS, "it was faster than the kills"
        pair = case.start(workdir, 2)
        pair.wait_until(workdir / "scores", "part-*.parquet", there + 1)
        for child in rng.sample(pair.members, 2):
            time.sleep(rng.uniform(0.0, 0.1))  # a shard takes about as long
            child.send_signal(signal.SIGKILL)
            kills += 1
        pair.kill()
    case.launch(workdir).finish()
    assert _written(workdir) == expected
    ids = tables.read_parts(workdir / "scores")["id"].to_pylist()
    assert len(ids) == len(set(ids))


def _parts(workdir: Path) -> int:
    return len(list((workdir / "scores").glob("part-*.parquet")))
