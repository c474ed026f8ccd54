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


@pytest.mark.timeout(1800)
def test_a_run_that_is_killed_again_and_again_ends_the_same(tmp_path: Path):
    base, cache = tmp_path / "base", tmp_path / "cache"
    export_bundle(base, bundle())
    assert _start(tmp_path / "warm", base, cache).wait() == 0  # what is compiled once costs no run after it
    began = time.monotonic()
    assert _start(tmp_path / "whole", base, cache).wait() == 0
    whole_run = time.monotonic() - began

    rng = random.Random(0)
    killed_in: list[str] = []
    log = tmp_path / "killed.log"
    for _ in range(_KILLS):
        process = _start(tmp_path / "killed", base, cache)
        time.sleep(whole_run * rng.uniform(0.25, 0.7))  # a quarter is the imports
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
            killed_in.append(log.read_text().splitlines()[-1])
        process.wait()
    assert len(killed_in) >= 3, "the run ended before it could be killed often enough"
    assert _start(tmp_path / "killed", base, cache).wait() == 0, log.read_text()[-2000:]
    assert contents(tmp_path / "killed") == contents(tmp_path / "whole")
