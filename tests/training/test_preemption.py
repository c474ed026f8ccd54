"""A run that receives SIGTERM saves, and resumes to the same bits; with one process and with two."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from mmssr_jax.training import preemption
from tests.process_group import ProcessGroup

STEPS = 12


def _group(folder: Path, processes: int) -> ProcessGroup:
    command = [sys.executable, "-m", "tests.training.preempted_run", str(folder), str(STEPS)]
    return ProcessGroup(command, processes, logs=folder.with_suffix(".logs"))


def _preempt(folder: Path, processes: int) -> None:
    """Starts, waits for some steps, sends SIGTERM to one process, and checks that all save and end."""
    group = _group(folder, processes)
    metrics = folder / "run.jsonl"
    deadline = time.monotonic() + 800
    while time.monotonic() < deadline and not (metrics.exists() and '"step": 2' in metrics.read_text()):
        assert group.running, group.report()
        time.sleep(0.05)
    group.members[-1].send_signal(signal.SIGTERM)
    assert "is saved" in "".join(group.finish(timeout=900, status=130))
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
    _group(whole, processes).finish(timeout=900)
    _preempt(cut, processes)
    assert "resuming from step" in "".join(_group(cut, processes).finish(timeout=900))
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
