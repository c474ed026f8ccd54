"""A job in parts that survives its processes: which parts are done, who does which, and who finishes.

    part 0  done   its file is there, written atomically
    part 1  held   by a process, through a lock; free again when that process dies
    part 2  free

Processes work on a job in one of two modes:

    independent    any number of them, started together or by hand; each takes whole parts
    joint          they hold one model together: all work on every part, the main one writes

The bytes of a part depend on the part alone, so neither the mode nor the number of processes changes the result. Where
a file system keeps no locks between machines, parts may be done twice, which costs time and changes nothing.
"""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Protocol, TypeVar

import numpy as np

from mmssr_jax.core.errors import UserError
from mmssr_jax.core.lock import taken

T = TypeVar("T")

_FOLDER, _FINISH, _PARTS = 0, 1, 2  # bytes of the lock file: the whole folder, finishing it, part n at 2 + n
_PAUSE = 0.2  # seconds between two looks at what others do


class Processes(Protocol):
    """The processes of one command, as a job needs to know them."""

    @property
    def index(self) -> int:
        """This process, from 0; 0 is the main one."""
        ...

    @property
    def count(self) -> int:
        """How many there are."""
        ...

    @property
    def joint(self) -> bool:
        """Whether all of them work on every part together."""
        ...

    def from_main(self, flags: np.ndarray) -> np.ndarray:
        """The main process's flags (bool [N]) in every process."""
        ...

    def wait(self, name: str) -> None:
        """Returns when every process has called it with the same name."""
        ...


@dataclasses.dataclass(frozen=True)
class SingleProcess:
    """A command of one process."""

    index: int = 0
    count: int = 1
    joint: bool = False

    def from_main(self, flags: np.ndarray) -> np.ndarray:
        """`flags` (bool [N]) as they are."""
        return flags

    def wait(self, name: str) -> None:
        """Waits for nobody."""


def part_rows(total: int, part: int, parts: int) -> range:
    """The rows of one part of `total` rows: consecutive, so that the parts in order are the rows in order."""
    return range(part * total // parts, (part + 1) * total // parts)


class ShardedJob:
    """The parts of one job; its locks end with the `with` block, or with the process.

    Args:
      parts: how many there are.
      is_done: whether a part is written.
      lock: the lock file, outside the folder of the parts. It stays when the work is done, empty.
      processes: who works on it.
    """

    def __init__(self, parts: int, is_done: Callable[[int], bool], *, lock: Path, processes: Processes | None = None):
        self.parts = parts
        self.is_done = is_done
        self.processes = processes if processes is not None else SingleProcess()
        self._lock_path = lock

    def __enter__(self) -> ShardedJob:
        self._lock_path.parent.mkdir(parents=True, exist_ok=True)
        self._file = open(self._lock_path, "a+b")
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._file.close()  # and with it every lock

    @property
    def writes(self) -> bool:
        """Whether this process writes what it computes."""
        return not self.processes.joint or self.processes.index == 0

    def done(self) -> list[int]:
        """The parts that are written."""
        return [n for n in range(self.parts) if self.is_done(n)]

    def claim(self, claim: Callable[..., T], *, overwrite: bool) -> T:
        """Claims the folder of the parts; it is emptied only while nobody else is working on it.

        Args:
          claim: makes the claim; called with `may_overwrite`, whether it may remove what is there.
          overwrite: the user allows that.

        Raises:
          UserError: as `claim`, or another process is working on a folder that would be emptied.
        """
        if not overwrite:
            self._share()
            return claim(may_overwrite=False)
        if self.processes.index != 0:
            self.processes.wait("claimed")
            self._share()
            return claim(may_overwrite=False)
        if not self._lock(_FOLDER):
            raise UserError(
                "another process is working on this; wait for it to end, or start this one without --overwrite"
            )
        result = claim(may_overwrite=True)
        self._share()
        self.processes.wait("claimed")
        return result

    def todo(self) -> Iterator[int]:
        """The parts for this process to do; ends when all are done, by any process.

        An independent process holds a part while the caller works on it, and begins at its own share.
        """
        if self.processes.joint:
            missing = self.processes.from_main(np.array([not self.is_done(n) for n in range(self.parts)], bool))
            yield from (int(n) for n in np.flatnonzero(missing))
            return
        first = self.processes.index * self.parts // self.processes.count
        left = [n for n in (*range(first, self.parts), *range(first)) if not self.is_done(n)]
        while left:
            worked = False
            for n in left:
                with self._held(_PARTS + n) as held:
                    if held and not self.is_done(n):
                        yield n
                        worked = True
            left = [n for n in left if not self.is_done(n)]
            if left and not worked:
                time.sleep(_PAUSE)

    def finish(self, finished: Callable[[], bool], finishing: Callable[[], None]) -> None:
        """Runs `finishing` once all parts are done.

        Independent processes: one of them runs it, another takes over if that one dies, and all wait for it. Joint
        ones all run it together.

        Args:
          finished: whether it was done.
          finishing: what is done once, such as sealing the folder.
        """
        if self.processes.joint:
            self.processes.wait("parts")
            finishing()
            self.processes.wait("finished")
            return
        while not finished():
            with self._held(_FINISH) as held:
                if held and not finished():
                    finishing()
                    return
            time.sleep(_PAUSE)

    def _share(self) -> None:
        """Lets others in; waits for one that works alone."""
        taken(lambda: fcntl.lockf(self._file, fcntl.LOCK_SH, 1, _FOLDER), self._lock_path.stem)

    def _lock(self, byte: int) -> bool:
        return taken(lambda: fcntl.lockf(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, byte), self._lock_path.stem)

    @contextlib.contextmanager
    def _held(self, byte: int) -> Iterator[bool]:
        held = self._lock(byte)
        try:
            yield held
        finally:
            if held:
                with contextlib.suppress(OSError):  # where there are no locks
                    fcntl.lockf(self._file, fcntl.LOCK_UN, 1, byte)
