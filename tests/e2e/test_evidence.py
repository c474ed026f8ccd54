"""The comparison of configs/evidence.py in small: run, cached, the same again, and made into the page."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from docs import make_evidence
from mmssr_jax.evaluation.evidence_cells import read_results
from tests.xla_flags import QUICK

pytestmark = pytest.mark.slow

REPO = Path(__file__).resolve().parents[2]
CELLS = "base,full,random-p10,matched-p10,mmssr-p10,expected-p10,ours/scorer"


def evidence(results: Path, workdir: Path, *flags: str) -> str:
    """The log of the program; it must succeed."""
    command = [sys.executable, "benchmarks/evidence.py", "--scale=small", "--seeds=0", f"--results={results}"]
    environment = {**os.environ, "XLA_FLAGS": QUICK}  # one device instead of the tests' eight
    done = subprocess.run(
        [*command, f"--workdir={workdir}", *flags],
        cwd=REPO,
        env=environment,
        text=True,
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout + done.stderr


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The folders of the results and of the replicates."""
    results, workdir = tmp_path_factory.mktemp("results"), tmp_path_factory.mktemp("work")
    evidence(results, workdir, f"--only={CELLS}")
    return results, workdir


def test_every_cell_has_its_numbers(finished: tuple[Path, Path]) -> None:
    (found,) = read_results(finished[0])
    assert set(found.cells) == {
        "ours/base", "ours/full", "ours/random-p10", "ours/matched-p10", "ours/mmssr-p10", "paper/expected-p10",
    }  # fmt: skip
    assert [found.cells[name].rows for name in ("ours/random-p10", "ours/mmssr-p10", "ours/full")] == [40, 40, None]
    # Two passes over 400 and over 40 samples, 42 a step.
    assert [found.cells[name].steps for name in ("ours/full", "ours/random-p10", "paper/expected-p10")] == [19, 2, 2]
    assert all(len(cell.skills) == 14 for cell in found.cells.values())
    assert set(found.scorers) == {"ours"}
    assert {"train_scorer", "score", "select", "train"} <= set(found.stages["ours"])


def test_what_is_there_is_not_run_again(finished: tuple[Path, Path], tmp_path: Path) -> None:
    results, _ = finished
    before = (results / "main" / "0.json").read_bytes()
    log = evidence(results, tmp_path / "nowhere", f"--only={CELLS}")  # all of it is in the results, nothing here
    assert "ours: 0 of 6 to run" in log
    assert "paper: 0 of 1 to run" in log
    assert (results / "main" / "0.json").read_bytes() == before
    assert not (tmp_path / "nowhere").exists()


def test_a_cell_again_gives_the_same_bytes(finished: tuple[Path, Path], tmp_path: Path) -> None:
    log = evidence(finished[0], tmp_path, "--only=random-p10,full", "--again")
    assert log.count("the same bytes") == 2


def test_the_page_is_made_from_it(finished: tuple[Path, Path]) -> None:
    text = make_evidence.generate(finished[0])
    assert "mmSSR's model is" in text
    assert "| mmSSR, paper's scorer | " in text
