"""One small program compiled for a real TPU slice, where libtpu is installed (the tpu-aot extra)."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest


@pytest.mark.parametrize("job", ["score", pytest.param("train", marks=pytest.mark.slow)])
def test_tiny_compiles_for_a_tpu_slice(job, repo):
    pytest.importorskip("libtpu", reason="libtpu is not installed: pip install -e .[tpu-aot]")
    command = [sys.executable, str(repo / "benchmarks/tpu_aot.py"), "--topology=v5e:2x2", "--preset=tiny"]
    command += ["--length=256", "--targets=16", "--tensor=2", f"--job={job}"]
    out = subprocess.run(command, capture_output=True, text=True, check=True, timeout=600)
    found = json.loads(out.stdout.splitlines()[-1])
    assert found["fits"]
    assert 0 < found["hbm_gib"] < 0.1
    assert 1.0 < found["flops"] / found["flops_model"] < 1.7, "recomputation and masked blocks, and no more"
    assert found["collectives"]["all-gather"] > 0, "the parameters are split"
