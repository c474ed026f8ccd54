"""Distributes work items over processes with byte-range locks on one file; a process that dies releases its locks.

Any number of processes, started separately or as one group, share a folder. Byte 0 of the lock file stands for the
folder, byte 1 for finishing it, byte 2 + n for item n. On a file system without locks across machines, an item may be
done twice; that costs time only, because items are written atomically and with equal content.
"""

from __future__ import annotations

import contextlib
import fcntl
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import TracebackType

from mmssr_jax.core.errors import UserError

_FOLDER, _FINISH, _ITEMS = 0, 1, 2
_POLL_S = 0.2  # seconds between two checks for the progress of other processes


class WorkList:
    """The locks of one folder, held until the end of the `with` block or of the process.

    Args:
      path: the lock file, outside the folder; it remains as an empty file.
    """

    def __init__(self, path: Path):
        self._path = path

    def __enter__(self) -> WorkList:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._file = open(self._path, "a+b")
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._file.close()  # releases every lock

    def hold_alone(self) -> None:
        """Locks the folder exclusively until `share`.

        Raises:
          UserError: another process is at work.
        """
        if not self._lock(_FOLDER):
            raise UserError("another process is at work on this; let it end, or start this one without --overwrite")

    def share(self) -> None:
        """Locks the folder together with other processes; waits for one that holds it alone."""
        fcntl.lockf(self._file, fcntl.LOCK_SH, 1, _FOLDER)

    def _lock(self, byte: int) -> bool:
        try:
            fcntl.lockf(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, byte)
        except OSError:
            return False
        return True

    @contextlib.contextmanager
    def _held(self, byte: int) -> Iterator[bool]:
        held = self._lock(byte)
        try:
            yield held
        finally:
            if held:
                fcntl.lockf(self._file, fcntl.LOCK_UN, 1, byte)

    def items(self, order: Sequence[int], done: Callable[[int], bool]) -> Iterator[int]:
        """Yields items that are not done, each locked while the caller works on it, until all items are done.

        Args:
          order: all items, in the order of this process's preference.
          done: whether an item is done, by this or another process.
        """
        remaining = [n for n in order if not done(n)]
        while remaining:
            worked = False
            for n in remaining:
                with self._held(_ITEMS + n) as locked:
                    if locked and not done(n):
                        yield n
                        worked = True
            remaining = [n for n in remaining if not done(n)]
            if remaining and not worked:
                time.sleep(_POLL_S)

    def finish(self, finished: Callable[[], bool], finish: Callable[[], None]) -> None:
        """Runs `finish` in one process while the others wait; if that process dies, another one runs it."""
        while not finished():
            with self._held(_FINISH) as locked:
                if locked and not finished():
                    finish()
                    return
            time.sleep(_POLL_S)


def preferred(count: int, *, index: int, processes: int) -> list[int]:
    """All `count` items, rotated so that process `index` of `processes` starts with its share."""
    first = index * count // processes
    return [*range(first, count), *range(first)]
