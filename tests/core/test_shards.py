"""A job in parts: each part once, whoever does it; what a killed process held is done by another."""

from __future__ import annotations

import dataclasses
import errno
import fcntl
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmssr_jax.core.errors import UserError
from mmssr_jax.core.shards import ShardedJob, part_rows

# Does parts 0-3; writes a file when it begins one and when it has done it. Part 1 takes for ever the first time.
CHILD = """
import sys, time
from pathlib import Path
from mmssr_jax.core.shards import ShardedJob
folder = Path(sys.argv[1])
with ShardedJob(4, lambda n: (folder / f"done{n}").exists(), lock=folder / "lock") as job:
    job.claim(lambda may_overwrite: None, overwrite=False)
    for n in job.todo():
        stuck = n == 1 and not (folder / "begun1").exists()
        (folder / f"begun{n}").touch()
        time.sleep(3600 if stuck else 0)
        (folder / f"done{n}").touch()
"""


@dataclasses.dataclass(frozen=True)
class Group:
    """One of several processes, as far as a job sees it."""

    index: int = 0
    count: int = 1
    joint: bool = False
    main: tuple[bool, ...] | None = None
    waits: list[str] = dataclasses.field(default_factory=list)

    def from_main(self, flags: np.ndarray) -> np.ndarray:
        return flags if self.main is None else np.array(self.main)

    def wait(self, name: str) -> None:
        self.waits.append(name)


def _job(folder: Path, processes: Group | None = None) -> ShardedJob:
    return ShardedJob(4, lambda n: (folder / f"done{n}").exists(), lock=folder / "lock", processes=processes)


def _child(folder: Path) -> subprocess.Popen:
    return subprocess.Popen([sys.executable, "-c", CHILD, str(folder)])


def _wait_for(path: Path) -> None:
    end = time.monotonic() + 60
    while not path.exists():
        assert time.monotonic() < end, f"{path} does not come"
        time.sleep(0.02)


def test_each_part_once_then_what_a_killed_process_held(tmp_path: Path):
    stuck = _child(tmp_path)
    _wait_for(tmp_path / "begun1")
    taken = []
    with _job(tmp_path, Group(index=1, count=2)) as job:
        job.claim(lambda may_overwrite: None, overwrite=False)
        for n in job.todo():
            taken.append(n)
            if n == 3:
                assert not (tmp_path / "done1").exists()
                stuck.send_signal(signal.SIGKILL)
                stuck.wait()
            (tmp_path / f"done{n}").touch()
        assert job.done() == [0, 1, 2, 3]
    assert taken == [2, 3, 1]  # its own share first; 0 was done, 1 was held until its holder died


def test_nobody_empties_a_folder_under_another(tmp_path: Path):
    child = _child(tmp_path)
    _wait_for(tmp_path / "begun1")
    claims: list[bool] = []
    try:
        with _job(tmp_path) as job, pytest.raises(UserError, match="another process is working"):
            job.claim(lambda may_overwrite: claims.append(may_overwrite), overwrite=True)
        assert claims == []
    finally:
        child.kill()
        child.wait()
    with _job(tmp_path) as job:
        job.claim(lambda may_overwrite: claims.append(may_overwrite), overwrite=True)
    assert claims == [True]


def test_only_the_main_process_of_a_group_empties(tmp_path: Path):
    claims: list[bool] = []
    other = Group(index=1, count=2)
    with _job(tmp_path, other) as job:
        job.claim(lambda may_overwrite: claims.append(may_overwrite), overwrite=True)
    assert (claims, other.waits) == ([False], ["claimed"])


def test_finishing_happens_once(tmp_path: Path):
    finished: list[int] = []
    with _job(tmp_path) as job:
        for _ in range(2):
            job.finish(lambda: bool(finished), lambda: finished.append(1))
    assert finished == [1]


def test_joint_processes_do_every_part_that_the_main_one_misses(tmp_path: Path):
    (tmp_path / "done0").touch()  # a slow file system shows this process one part fewer than the main one sees
    group = Group(index=1, count=2, joint=True, main=(False, False, True, True))
    ended: list[int] = []
    with _job(tmp_path, group) as job:
        assert (list(job.todo()), job.writes) == ([2, 3], False)
        job.finish(lambda: False, lambda: ended.append(1))
    assert (ended, group.waits) == ([1], ["parts", "finished"])
    assert _job(tmp_path, Group(joint=True, count=2)).writes


@given(st.integers(0, 5000), st.integers(1, 60))
def test_parts_in_order_are_the_rows_in_order(total: int, parts: int):
    rows = [list(part_rows(total, n, parts)) for n in range(parts)]
    assert [row for part in rows for row in part] == list(range(total))
    assert max(map(len, rows)) - min(map(len, rows)) <= 1


def test_a_file_system_without_locks_ends_the_job_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def none(*args: object) -> None:
        raise OSError(errno.ENOSYS, "Function not implemented")

    monkeypatch.setattr(fcntl, "lockf", none)
    done: list[int] = []
    finished: list[bool] = []
    with ShardedJob(4, done.__contains__, lock=tmp_path / "lock") as job:
        assert job.claim(lambda may_overwrite: may_overwrite, overwrite=True)
        for n in job.todo():
            done.append(n)
        job.finish(lambda: bool(finished), lambda: finished.append(True))
    assert (done, finished) == ([0, 1, 2, 3], [True])
