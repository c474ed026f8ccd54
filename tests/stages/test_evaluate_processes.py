"""The same predictions and results by one process, by two, and by two of which one was killed."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from mmssr_jax.training.bundle import export_bundle
from tests.small import bundle

pytestmark = pytest.mark.slow

CONFIG = """
from ml_collections import ConfigDict

def get_config():
    c = ConfigDict()
    c.stages = ("evaluate",)
    c.base = "MODEL"
    c.evaluate = {
        "benchmarks": {
            "found": {"synthetic": {"task": "grounding", "questions": 30}, "instruction": ""},
            "clips": {"synthetic": {"task": "video", "questions": 18}, "instruction": "", "frames": 2},
            "ranked": {"synthetic": {"questions": 10}, "answering": "rank"},
        },
        "runs": ("base",), "blind": ("base",), "max_new_tokens": 4, "save_every": 4,
        "answerer": {"rows": 4, "images": (1, 2), "length_step": 128},
    }
    return c
"""


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("evaluate")
    export_bundle(folder / "model", bundle())
    (folder / "config.py").write_text(CONFIG.replace("MODEL", str(folder / "model")))
    return folder / "config.py"


def start(config: Path, workdir: Path, repo: Path, processes: int) -> list[subprocess.Popen]:
    """The program in so many processes that find each other."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "mmssr_jax.main", f"--config={config}", f"--workdir={workdir}"]
    environment = {
        **os.environ, "JAX_PLATFORMS": "cpu", "XLA_FLAGS": "", "JAX_COMPILATION_CACHE_DIR": f"{config.parent}/compiled",
    }  # fmt: skip
    started = []
    for n in range(processes):
        group = {"JAX_COORDINATOR_ADDRESS": f"127.0.0.1:{port}", "JAX_NUM_PROCESSES": str(processes)}
        mine = {**group, "JAX_PROCESS_ID": str(n)} if processes > 1 else {}
        started.append(subprocess.Popen(command, cwd=repo, env={**environment, **mine}, stderr=subprocess.PIPE))
    return started


def finished(started: list[subprocess.Popen]) -> list[str]:
    said = [process.communicate(timeout=600)[1].decode() for process in started]
    assert [process.returncode for process in started] == [0] * len(started), said
    return said


def written(workdir: Path) -> dict[str, bytes]:
    folders = (workdir / "predictions", workdir / "results", workdir / "benchmarks")
    return {str(p.relative_to(workdir)): p.read_bytes() for f in folders for p in sorted(f.rglob("*")) if p.is_file()}


@pytest.fixture(scope="module")
def expected(config: Path, repo: Path) -> dict[str, bytes]:
    finished(start(config, config.parent / "one", repo, 1))
    return written(config.parent / "one")


def test_two_processes_write_what_one_writes(config, repo, expected):
    assert {
        "predictions/base/found.parquet", "predictions/base_blind/clips.parquet", "predictions/base/ranked.parquet",
        "results/base.json",
    } <= set(expected)  # fmt: skip
    finished(start(config, config.parent / "two", repo, 2))
    assert written(config.parent / "two") == expected


def test_two_processes_killed_and_started_again_go_on(config, repo, expected):
    workdir = config.parent / "killed"
    running = start(config, workdir, repo, 2)
    while not list(workdir.rglob("parts/*.json")):
        assert all(process.poll() is None for process in running), "it ended before it could be killed"
        time.sleep(0.05)
    for process in running:
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stderr.close()
    finished(start(config, workdir, repo, 2))
    assert written(workdir) == expected
