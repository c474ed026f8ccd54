"""Locks that are held, and file systems that keep none."""

from __future__ import annotations

import errno
import fcntl
import os
from pathlib import Path

import pytest

from mmssr_jax.core import lock
from mmssr_jax.core.errors import UserError
from mmssr_jax.core.lock import Lock, taken


def failing(number: int):
    def take(*args: object) -> None:
        raise OSError(number, os.strerror(number))

    return take


@pytest.fixture
def warnings(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is warned of."""
    lock._warn_once.cache_clear()
    seen: list[str] = []
    monkeypatch.setattr(lock.logging, "warning", lambda text, *args: seen.append(text % args))
    return seen


@pytest.mark.parametrize("number", [errno.EACCES, errno.EAGAIN, errno.EWOULDBLOCK])
def test_a_lock_that_another_process_holds(tmp_path: Path, warnings: list[str], number: int, monkeypatch):
    assert not taken(failing(number), "stage a")
    monkeypatch.setattr(fcntl, "lockf", failing(number))
    with pytest.raises(UserError, match="stage a: another process is working on it"):
        Lock(tmp_path / "a.lock").acquire("stage a")
    assert not warnings


@pytest.mark.parametrize("number", [errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP])
def test_a_file_system_without_locks_is_warned_of_once(warnings: list[str], number: int):
    for _ in range(3):
        assert taken(failing(number), "stage a")
    assert warnings == [
        f"stage a: this file system does not support locks ({os.strerror(number)}); do not run the same stage twice"
    ]
