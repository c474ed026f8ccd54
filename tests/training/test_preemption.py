"""A run that receives SIGTERM saves, and resumes to the same bits; with one process and with two."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from mmssr_jax.training import preemption

REPO = Path(__file__).resolve().parents[2]
STEPS = 12


def _start(folder: Path, *, process: int = 0, processes: int = 1, port: int = 0) -> subprocess.Popen:
    env = {**os.environ, "PYTHONPATH": str(REPO), "JAX_PLATFORMS": "cpu", "XLA_FLAGS": ""}
    if processes > 1:
        env |= {
            "JAX_COORDINATOR_ADDRESS": f"127.0.0.1:{port}", "JAX_NUM_PROCESSES": str(processes),
            "JAX_PROCESS_ID": str(process),
        }  # fmt: skip
    command = [sys.executable, "-m", "tests.training.preempted_run", str(folder), str(STEPS)]
    return subprocess.Popen(command, env=env, cwd=REPO, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def _group(folder: Path, processes: int) -> list[subprocess.Popen]:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    return [_start(folder, process=p, processes=processes, port=port) for p in range(processes)]


def _finish(runs: list[subprocess.Popen]) -> tuple[list[int], str]:
    outputs = [run.communicate(timeout=900)[0] for run in runs]
    return [run.returncode for run in runs], "\n".join(outputs)


def _preempt(folder: Path, processes: int) -> None:
    """Starts, waits for some steps, sends SIGTERM to one process, and checks that all save and end."""
    runs = _group(folder, processes)
    metrics = folder / "run.jsonl"
    deadline = time.monotonic() + 800
    while time.monotonic() < deadline and not (metrics.exists() and '"step": 2' in metrics.read_text()):
        assert all(run.poll() is None for run in runs), _finish(runs)
        time.sleep(0.05)
    runs[-1].send_signal(signal.SIGTERM)
    codes, output = _finish(runs)
    assert codes == [130] * processes, output
    assert "is saved" in output
    assert not (folder / "finished_0.npz").exists()


def _parameters(folder: Path, process: int = 0) -> dict[str, np.ndarray]:
    return dict(np.load(folder / f"finished_{process}.npz"))


@pytest.mark.slow
@pytest.mark.timeout(3000)
@pytest.mark.parametrize("processes", [1, 2])
def test_a_preempted_and_resumed_run_is_bit_equal(tmp_path: Path, processes: int):
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    whole.mkdir()
    cut.mkdir()
    codes, output = _finish(_group(whole, processes))
    assert codes == [0] * processes, output
    _preempt(cut, processes)
    codes, output = _finish(_group(cut, processes))
    assert codes == [0] * processes, output
    assert "resuming from step" in output
    for process in range(processes):
        expected, found = _parameters(whole, process), _parameters(cut, process)
        assert expected.keys() == found.keys()
        for name, value in expected.items():  # parameters, optimizer state and the numbers of the last batch
            np.testing.assert_array_equal(found[name], value, err_msg=name)


def test_a_signal_is_noticed_once_and_the_old_handler_comes_back():
    before = signal.getsignal(signal.SIGTERM)
    with preemption.Preemption() as preempted:
        assert not preempted.reached(1)
        os.kill(os.getpid(), signal.SIGTERM)
        assert preempted.reached(2)
        assert signal.getsignal(signal.SIGTERM) == before
    assert signal.getsignal(signal.SIGTERM) == before
