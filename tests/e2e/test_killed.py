"""SIGKILL at random moments of the whole program, again and again, and then to its end: the same files."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from mmssr_jax.training.bundle import export_bundle
from tests.e2e.contents import contents
from tests.small import bundle
from tests.xla_flags import QUICK

pytestmark = pytest.mark.slow

CONFIG = Path(__file__).with_name("small_config.py")
_KILLS = 5


def _start(workdir: Path, base: Path, cache: Path) -> subprocess.Popen[bytes]:
    command = [
        sys.executable, "-m", "mmssr_jax.main", f"--config={CONFIG}", f"--workdir={workdir}", f"--config.base={base}",
    ]  # fmt: skip
    environment = {**os.environ, "JAX_COMPILATION_CACHE_DIR": str(cache), "XLA_FLAGS": QUICK}
    with workdir.with_suffix(".log").open("ab") as log:
        return subprocess.Popen(command, env=environment, stdout=log, stderr=log)


def _run(workdir: Path, base: Path, cache: Path) -> None:
    assert _start(workdir, base, cache).wait() == 0, workdir.with_suffix(".log").read_text()[-2000:]


def _files(workdir: Path) -> int:
    return sum(len(files) for _, _, files in os.walk(workdir))


@pytest.mark.timeout(1800)
def test_a_run_that_is_killed_again_and_again_ends_the_same(tmp_path: Path):
    base, cache = tmp_path / "base", tmp_path / "cache"
    export_bundle(base, bundle())
    _run(tmp_path / "whole", base, cache)
    rng = random.Random(0)
    workdir, written = tmp_path / "killed", _files(tmp_path / "whole")
    kills = 0
    for kill in range(_KILLS):
        process = _start(workdir, base, cache)
        # Somewhere in each fifth of what the run writes, so that no machine is too fast or too slow for the kills.
        least = written * (kill + rng.uniform(0.1, 0.9)) / _KILLS
        while process.poll() is None and _files(workdir) < least:
            time.sleep(0.01)
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
            kills += 1
        process.wait()
    assert kills >= 3, "the run ended before it could be killed often enough"
    _run(workdir, base, cache)
    assert contents(workdir) == contents(tmp_path / "whole")
