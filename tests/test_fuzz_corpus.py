"""Inputs that benchmarks/fuzz.py has found: each is read, or refused with an error that becomes one line."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.fuzzing import targets
from mmssr_jax.core.cli import one_line

CORPUS = Path(__file__).parent / "fuzz_corpus"
CASES = sorted(p for p in CORPUS.glob("*/*") if p.is_dir())


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.parent.name}-{case.name}")
def test_it_is_read_or_refused_in_one_line(case: Path, tmp_path: Path):
    shutil.copytree(case, tmp_path / "input")
    result = refusal = None
    try:
        result = targets.TARGETS[case.parent.name].read(tmp_path / "input")
    except targets.REFUSALS as e:
        refusal = one_line(e)
    assert (result is None) == bool(refusal)


def test_every_case_is_of_a_reader():
    assert CASES
    assert {case.parent.name for case in CASES} <= set(targets.TARGETS)


@pytest.mark.slow
def test_some_new_inputs_of_every_reader(repo: Path, tmp_path: Path):
    command = [sys.executable, "benchmarks/fuzz.py", "--inputs=440", "--seed=7", f"--failed={tmp_path}"]
    ended = subprocess.run(command, cwd=repo, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr[-2000:]
    line = json.loads(ended.stdout.splitlines()[-1])
    assert line["inputs"] == line["results"] + line["refused"] == 440
    assert set(line["per_reader"]) == set(targets.TARGETS)
