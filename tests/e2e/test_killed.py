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

pytestmark = pytest.mark.slow

CONFIG = Path(__file__).with_name("small_config.py")
_KILLS = 8


def _start(workdir: Path, base: Path, cache: Path) -> subprocess.Popen[bytes]:
    command = [
        sys.executable, "-m", "mmssr_jax.main", f"--config={CONFIG}", f"--workdir={workdir}", f"--config.base={base}",
    ]  # fmt: skip
    environment = {**os.environ, "JAX_COMPILATION_CACHE_DIR": str(cache), "XLA_FLAGS": ""}
    with workdir.with_suffix(".log").open("ab") as log:
        return subprocess.Popen(command, env=environment, stdout=log, stderr=log)


def _seconds(workdir: Path, base: Path, cache: Path) -> float:
    began = time.monotonic()
    assert _start(workdir, base, cache).wait() == 0
    return time.monotonic() - began


@pytest.mark.timeout(1800)
def test_a_run_that_is_killed_again_and_again_ends_the_same(tmp_path: Path):
    base, cache = tmp_path / "base", tmp_path / "cache"
    export_bundle(base, bundle())
    _seconds(tmp_path / "warm", base, cache)  # what is compiled once costs no run after it
    whole = _seconds(tmp_path / "whole", base, cache)
    start = _seconds(tmp_path / "whole", base, cache)  # everything is done: imports and the skipping
    rng = random.Random(0)
    kills = 0
    log = tmp_path / "killed.log"
    for _ in range(_KILLS):
        process = _start(tmp_path / "killed", base, cache)
        # At most a quarter of the work lies between two kills, so that there is work left for a fourth.
        time.sleep(start * 0.9 + rng.uniform(0, 2 / _KILLS) * (whole - start))
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
            kills += 1
        process.wait()
    assert kills >= 3, "the run ended before it could be killed often enough"
    assert _start(tmp_path / "killed", base, cache).wait() == 0, log.read_text()[-2000:]
    assert contents(tmp_path / "killed") == contents(tmp_path / "whole")
