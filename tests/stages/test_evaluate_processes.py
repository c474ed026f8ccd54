"""The same predictions and results by one process, by two, and by two of which one was killed."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from mmssr_jax.training.bundle import export_bundle
from tests.process_group import ProcessGroup
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


def start(config: Path, workdir: Path, processes: int) -> ProcessGroup:
    """The program in so many processes that find each other."""
    command = [sys.executable, "-m", "mmssr_jax.main", f"--config={config}", f"--workdir={workdir}"]
    compiled = {"JAX_COMPILATION_CACHE_DIR": f"{config.parent}/compiled"}
    return ProcessGroup(command, processes, logs=workdir.with_suffix(".logs"), env=compiled)


def written(workdir: Path) -> dict[str, bytes]:
    folders = (workdir / "predictions", workdir / "results", workdir / "benchmarks")
    return {str(p.relative_to(workdir)): p.read_bytes() for f in folders for p in sorted(f.rglob("*")) if p.is_file()}


@pytest.fixture(scope="module")
def expected(config: Path) -> dict[str, bytes]:
    start(config, config.parent / "one", 1).finish()
    return written(config.parent / "one")


def test_two_processes_write_what_one_writes(config, expected):
    assert {
        "predictions/base/found.parquet", "predictions/base_blind/clips.parquet", "predictions/base/ranked.parquet",
        "results/base.json",
    } <= set(expected)  # fmt: skip
    start(config, config.parent / "two", 2).finish()
    assert written(config.parent / "two") == expected


def test_two_processes_killed_and_started_again_go_on(config, expected):
    workdir = config.parent / "killed"
    running = start(config, workdir, 2)
    running.wait_until(workdir, "**/parts/*.json")
    running.kill()
    start(config, workdir, 2).finish()
    assert written(workdir) == expected
