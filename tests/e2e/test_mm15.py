"""MM1.5's tiny life cycle in two steps a phase: arms that share phases, their numbers, nothing run again."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import mm15_run
from configs import mm15_tiny
from mmssr_jax.core import files

pytestmark = pytest.mark.slow

REPO = Path(__file__).resolve().parents[2]


def run(tmp: Path, family: str) -> str:
    """The log of the program; it must succeed."""
    command = [sys.executable, "benchmarks/mm15.py", "--scale=least", "--seeds=0", f"--family={family}"]
    environment = {k: v for k, v in os.environ.items() if k != "XLA_FLAGS"}  # one device instead of the tests' eight
    done = subprocess.run(
        [*command, f"--workdir={tmp / 'work'}", f"--results={tmp / 'results'}"], cwd=REPO, env=environment, text=True,
        capture_output=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout + done.stderr


@pytest.mark.parametrize("family", ["skills", "ablations", "variants", "scratch"])
def test_every_arm_is_run_and_has_its_numbers(family: str, tmp_path: Path) -> None:
    log = run(tmp_path, family)
    found = files.read_json_object(tmp_path / "results" / family / "0.json")
    assert set(found["arms"]) == set(mm15_run.FAMILIES[family][1])
    named = {*mm15_tiny.TASKS, "one_image", *mm15_run.CATEGORIES, *mm15_run.AVERAGES}
    for arm, values in found["arms"].items():
        assert set(values) == named, arm
        assert all(0 <= value <= 100 for value in values.values())
    assert found["floors"]["one_image"]["guess"] == 25.0
    assert found["floors"]["taps"]["constant"] == pytest.approx(66.667, abs=3)
    assert found["floors"]["few_shot"]["guess"] == 50.0
    assert 5 < found["floors"]["grounding"]["constant"] < 30
    assert found["floors"]["referring"]["constant"] < 10
    if family == "skills":
        assert "training sft" in log
        assert "seed 0 of skills is there" in run(tmp_path, family)
