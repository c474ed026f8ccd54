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
from tests.xla_flags import QUICK

pytestmark = pytest.mark.slow

REPO = Path(__file__).resolve().parents[2]


def run(tmp: Path, family: str) -> str:
    """The log of the program; it must succeed."""
    command = [sys.executable, "benchmarks/mm15.py", "--scale=least", "--seeds=0", f"--family={family}"]
    environment = {**os.environ, "XLA_FLAGS": QUICK}  # one device instead of the tests' eight
    done = subprocess.run(
        [*command, f"--workdir={tmp / 'work'}", f"--results={tmp / 'results'}"], cwd=REPO, env=environment, text=True,
        capture_output=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout + done.stderr


def check(found: dict, arms: tuple[str, ...]) -> dict:
    """Every arm has its numbers, and every benchmark what needs no skill, which is returned."""
    assert set(found["arms"]) == set(arms)
    named = {*mm15_tiny.TASKS, "one_image", *mm15_run.CATEGORIES, *mm15_run.AVERAGES}
    for arm, values in found["arms"].items():
        assert set(values) == named, arm
        assert all(0 <= value <= 100 for value in values.values())
    floors = found["floors"]
    assert [floors["one_image"]["guess"], floors["few_shot"]["guess"]] == [25.0, 50.0]
    assert 5 < floors["video"]["constant"] < 50
    assert floors["taps"]["constant"] == pytest.approx(66.667, abs=15)
    assert 5 < floors["grounding"]["constant"] < 50
    assert floors["referring"]["constant"] < 25
    return floors


def test_a_seed_is_run_once(tmp_path: Path) -> None:
    log = run(tmp_path, "skills")
    check(files.read_json_object(tmp_path / "results" / "skills" / "0.json"), ("recipe",))
    assert "training sft" in log
    assert "seed 0 of skills is there" in run(tmp_path, "skills")


def test_random_weights_have_a_workdir_of_their_own(tmp_path: Path) -> None:
    run(tmp_path, "scratch")
    floors = check(files.read_json_object(tmp_path / "results" / "scratch" / "0.json"), ("scratch",))
    assert floors["multi_image"]["reader"] == pytest.approx(200 / 3, abs=0.01)


def test_arms_share_a_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XLA_FLAGS", QUICK)
    arms = ("recipe", "moe", "static", "self_captions", "ui")
    check(mm15_run.run_seed(0, "least", arms, tmp_path), arms)
    trained = {path.name for path in (tmp_path / "checkpoints").iterdir()}
    assert {"pretrain", "pretrain-moe", "sft", "sft-static", "boxes-self_captions", "ui"} <= trained
    assert not {"pretrain-static", "pretrain-ui", "sft-ui"} & trained
