"""Inputs that benchmarks/fuzz.py has found: each is read, or refused with an error that becomes one line."""

from __future__ import annotations

import contextlib
import shutil
from pathlib import Path

import pytest

from benchmarks.fuzzing import targets

CORPUS = Path(__file__).parent / "fuzz_corpus"
CASES = sorted(p for p in CORPUS.glob("*/*") if p.is_dir())


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.parent.name}-{case.name}")
def test_it_is_read_or_refused_in_one_line(case: Path, tmp_path: Path):
    shutil.copytree(case, tmp_path / "input")
    with contextlib.suppress(*targets.REFUSALS):
        targets.TARGETS[case.parent.name].read(tmp_path / "input")


def test_every_case_is_of_a_reader():
    assert CASES
    assert {case.parent.name for case in CASES} <= set(targets.TARGETS)
