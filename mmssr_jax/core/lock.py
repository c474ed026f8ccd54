"""One writer a folder: a lock that ends with its process and names its holder."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import functools
import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import IO

from absl import logging

from mmssr_jax.core.errors import UserError

_HELD = (errno.EACCES, errno.EAGAIN, errno.EWOULDBLOCK)


def taken(take: Callable[[], object], what: str) -> bool:
    """Whether `take`, a call that locks, succeeded; False if another process holds the lock.

    Some network file systems keep no locks (ENOSYS, ENOLCK): a run goes on there as if it held the lock.

    Args:
      what: what is protected, for the warning.
    """
    try:
        take()
    except OSError as e:
        if e.errno in _HELD:
            return False
        _warn_once(what, os.strerror(e.errno or 0))
    return True


@functools.cache
def _warn_once(what: str, reason: str) -> None:
    logging.warning("%s: this file system does not support locks (%s); do not run the same stage twice", what, reason)


class Lock:
    """An exclusive lock on a file (POSIX record lock).

    The system releases it when the process ends, however it ends, so a dead holder blocks nobody. The file stays; its
    content names the last holder.

    Args:
      path: of the lock file, outside the folder that it protects.
    """

    def __init__(self, path: Path):
        self._path = path
        self._file: IO[str] | None = None

    def acquire(self, what: str) -> None:
        """Takes the lock without waiting.

        Args:
          what: what is protected, for the error line.

        Raises:
          UserError: another process holds it; the line names its id and machine.
        """
        self._path.parent.mkdir(parents=True, exist_ok=True)
        file = open(self._path, "a+", encoding="utf-8")  # noqa: SIM115 - open as long as the lock is held
        if not taken(lambda: fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB), what):
            file.seek(0)
            holder = file.read(200).strip() or "another process"
            file.close()
            raise UserError(f"{what}: {holder} is working on it; wait for it to end, then run this again")
        file.truncate(0)
        file.write(f"process {os.getpid()} on {socket.gethostname()}\n")
        file.flush()
        self._file = file

    def release(self) -> None:
        """Lets others in; does nothing where the lock is not held."""
        if self._file is not None:
            with contextlib.suppress(OSError):
                self._file.close()
            self._file = None
