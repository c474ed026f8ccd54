"""launch/local.py: what its processes find, and what becomes of the others when one fails."""

from __future__ import annotations

import importlib.util
import shlex
import sys
import time
from pathlib import Path

import pytest


@pytest.fixture(scope="module")
def local(repo: Path):
    spec = importlib.util.spec_from_file_location("launch_local", repo / "launch" / "local.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_processes_by_themselves_and_as_a_group(local, monkeypatch):
    monkeypatch.delenv("JAX_PROCESS_ID", raising=False)
    alone = local.environment(1, 2, port=None, gpus=True)
    assert alone["CUDA_VISIBLE_DEVICES"] == "1"
    assert "JAX_PROCESS_ID" not in alone
    member = local.environment(1, 2, port=1234, gpus=False)
    names = ("JAX_COORDINATOR_ADDRESS", "JAX_NUM_PROCESSES", "JAX_PROCESS_ID")
    assert [member[n] for n in names] == ["localhost:1234", "2", "1"]


FAILS = "import os, time; time.sleep(0 if os.environ.get('JAX_PROCESS_ID', 'N') == 'N' else 3600); raise SystemExit(3)"


@pytest.mark.parametrize("first", [0, 1])
def test_a_group_ends_with_its_first_member(local, first):
    begin = time.monotonic()
    assert local.run([sys.executable, "-c", FAILS.replace("N", str(first))], count=2, joined=True, gpus=False) == 3
    assert time.monotonic() - begin < 600


def test_the_status_of_those_that_go_on(local):
    assert local.run([sys.executable, "-c", "pass"], count=2, joined=False, gpus=False) == 0
    assert local.run([sys.executable, "-c", FAILS.replace("N", "0")], count=2, joined=False, gpus=False) == 3


def test_a_dry_run_prints_the_process_and_its_device(local, capsys):
    assert local.main(["--processes=2", "--gpus", "--dry_run", "--", "--config=c d.py"]) == 0
    lines = [shlex.split(line) for line in capsys.readouterr().out.splitlines()]
    assert lines == [
        [f"CUDA_VISIBLE_DEVICES={i}", sys.executable, "-m", "mmssr_jax.main", "--config=c d.py"] for i in range(2)
    ]
