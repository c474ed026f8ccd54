"""Locks that share work between processes, and let go when one dies."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from mmssr_jax.core.errors import UserError
from mmssr_jax.scoring.work_list import WorkList, preferred

# Takes items 0-3; writes a file when it begins one and when it has done it. Item 1 takes for ever the first time.
CHILD = """
import sys, time
from pathlib import Path
from mmssr_jax.scoring.work_list import WorkList
folder = Path(sys.argv[1])
with WorkList(folder / "lock") as work:
    work.share()
    for n in work.items(range(4), lambda n: (folder / f"done{n}").exists()):
        stuck = n == 1 and not (folder / "begun1").exists()
        (folder / f"begun{n}").touch()
        time.sleep(3600 if stuck else 0)
        (folder / f"done{n}").touch()
"""


def _child(folder: Path) -> subprocess.Popen:
    return subprocess.Popen([sys.executable, "-c", CHILD, str(folder)])


def _wait_for(path: Path) -> None:
    end = time.monotonic() + 60
    while not path.exists():
        assert time.monotonic() < end, f"{path} does not come"
        time.sleep(0.02)


def test_each_item_once_then_what_a_killed_process_held(tmp_path: Path):
    stuck = _child(tmp_path)
    _wait_for(tmp_path / "begun1")
    taken = []
    with WorkList(tmp_path / "lock") as work:
        work.share()
        for n in work.items([3, 2, 1, 0], lambda n: (tmp_path / f"done{n}").exists()):
            taken.append(n)
            if n == 2:
                assert not (tmp_path / "done1").exists()
                stuck.send_signal(signal.SIGKILL)
                stuck.wait()
            (tmp_path / f"done{n}").touch()
    assert taken == [3, 2, 1]  # 0 was done, 1 was held until its holder died


def test_nobody_empties_a_folder_under_another(tmp_path: Path):
    child = _child(tmp_path)
    _wait_for(tmp_path / "begun1")
    try:
        with WorkList(tmp_path / "lock") as work, pytest.raises(UserError, match="another process is at work"):
            work.hold_alone()
    finally:
        child.kill()
        child.wait()
    with WorkList(tmp_path / "lock") as work:
        work.hold_alone()
        work.share()


def test_finishing_happens_once(tmp_path: Path):
    finished: list[int] = []
    with WorkList(tmp_path / "lock") as work:
        for _ in range(2):
            work.finish(lambda: bool(finished), lambda: finished.append(1))
    assert finished == [1]


def test_equal_processes_begin_at_their_own_share():
    assert [preferred(5, index=i, processes=2)[0] for i in range(2)] == [0, 2]
    assert sorted(preferred(5, index=1, processes=2)) == list(range(5))
