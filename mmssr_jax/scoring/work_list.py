"""Which process does what, through locks on one file: a process that dies lets go of what it held.

Any number of processes, started by hand or as one group, share a folder. Byte 0 of the file stands for the folder,
byte 1 for finishing it, byte 2 + n for item n. Where a file system keeps no locks between machines, items may be done
twice, which costs time and changes nothing: they are written atomically, and equal.
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
_PAUSE = 0.2  # seconds between two looks at what others do


class WorkList:
    """The locks of one folder; they end with the `with` block, or with the process.

    Args:
      path: of the lock file, outside the folder. It stays when the work is done, empty.
    """

    def __init__(self, path: Path):
        self._path = path

    def __enter__(self) -> WorkList:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._file = open(self._path, "a+b")
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._file.close()  # and with it every lock

    def hold_alone(self) -> None:
        """Keeps others out until `share`.

        Raises:
          UserError: somebody is at work.
        """
        if not self._lock(_FOLDER):
            raise UserError("another process is at work on this; let it end, or start this one without --overwrite")

    def share(self) -> None:
        """Lets others in; waits for one that works alone."""
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
        """Items that are not done, each held while the caller works on it; ends when all are done, whoever did them.

        Args:
          order: all items, those first that this process should prefer.
          done: whether an item is done.
        """
        left = [n for n in order if not done(n)]
        while left:
            worked = False
            for n in left:
                with self._held(_ITEMS + n) as mine:
                    if mine and not done(n):
                        yield n
                        worked = True
            left = [n for n in left if not done(n)]
            if left and not worked:
                time.sleep(_PAUSE)

    def finish(self, finished: Callable[[], bool], finishing: Callable[[], None]) -> None:
        """Runs `finishing` in one process and waits for it in the others; another takes over if that one dies."""
        while not finished():
            with self._held(_FINISH) as mine:
                if mine and not finished():
                    finishing()
                    return
            time.sleep(_PAUSE)


def preferred(count: int, *, index: int, processes: int) -> list[int]:
    """All of `count` items, beginning where process `index` of several equal ones should: at its own share."""
    first = index * count // processes
    return [*range(first, count), *range(first)]
