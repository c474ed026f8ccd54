"""One small program compiled for a real TPU slice, where libtpu is installed (the tpu-aot extra)."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest


def compiled(repo, *more: str) -> dict:
    pytest.importorskip("libtpu", reason="libtpu is not installed: pip install -e .[tpu]")
    command = [
        sys.executable,
        str(repo / "benchmarks/tpu_aot.py"),
        "--topology=v5e:2x2",
        "--length=256",
        "--targets=16",
    ]
    out = subprocess.run([*command, *more], capture_output=True, text=True, check=True, timeout=600)
    return json.loads(out.stdout.splitlines()[-1])


@pytest.mark.parametrize("job", ["score", pytest.param("train", marks=pytest.mark.slow)])
def test_tiny_compiles_for_a_tpu_slice(job, repo):
    found = compiled(repo, "--preset=tiny", "--tensor=2", f"--job={job}")
    assert found["fits"]
    assert 0 < found["hbm_gib"] < 0.1
    assert 1.0 < found["flops"] / found["flops_model"] < 1.7, "only recomputation and masked blocks are added"
    assert found["collectives"]["all-gather"] > 0, "the parameters are sharded"


@pytest.mark.slow
def test_experts_compile_for_a_tpu_slice(repo):
    found = compiled(repo, "--preset=mm15_tiny_moe", "--expert=2", "--job=train")
    assert found["fits"]
    assert 1.0 < found["flops"] / found["flops_model"] < 1.7
