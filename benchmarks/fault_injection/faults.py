"""Faults: a process that ends at its n-th operation on a file, a full or read-only disk, damaged files.

Operations of Python are seen through its audit events; what a C++ library writes by itself (tensorstore, Arrow) is not,
and is reached by kills at random moments and by a real full disk.
"""

from __future__ import annotations

import collections
import contextlib
import errno
import os
import random
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

OPERATIONS = ("rename", "fsync", "open", "unlink")
DAMAGES = ("flip", "truncate", "empty", "null")
_EVENTS = {"os.rename": "rename", "os.remove": "unlink", "open": "open", "os.mkdir": "mkdir"}


def watch(root: Path, at: Callable[[str, int, bool], None]) -> None:
    """Calls `at(operation, number, writes)` before each operation on a file below `root`, in this process.

    `number` counts the operations of that kind from 0; `writes` is whether it changes the folder.
    """
    counts: collections.Counter[str] = collections.Counter()
    below = f"{root}/"

    def seen(operation: str, writes: bool) -> None:
        number = counts[operation]
        counts[operation] += 1
        at(operation, number, writes)

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        operation = _EVENTS.get(event)
        if operation is None or not isinstance(arguments[0], (str, bytes, os.PathLike)):
            return
        if os.fsdecode(arguments[0]).startswith(below):
            seen(operation, event != "open" or bool(arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)))

    fsync = os.fsync

    def watched(descriptor: int) -> None:
        seen("fsync", False)
        fsync(descriptor)

    os.fsync = watched
    sys.addaudithook(hook)


def kill_at(root: Path, operation: str, number: int) -> Callable[[], None]:
    """Ends the process before its operation of that kind and number."""

    def at(found: str, count: int, writes: bool) -> None:
        if (found, count) == (operation, number):
            os.kill(os.getpid(), signal.SIGKILL)

    return lambda: watch(root, at)


def refuse_from(root: Path, number: int, error: int) -> Callable[[], None]:
    """Every operation that writes fails with `error` from the one of that number on: a full or read-only disk."""
    writing = iter(range(1 << 62))

    def at(found: str, count: int, writes: bool) -> None:
        if writes and next(writing) >= number:
            raise OSError(error, os.strerror(error))

    return lambda: watch(root, at)


def count_operations(root: Path, into: Path) -> Callable[[], None]:
    """Writes the number of operations of each kind to a file, again at each of them."""
    counts: collections.Counter[str] = collections.Counter()

    def at(found: str, count: int, writes: bool) -> None:
        counts[found] += 1
        counts["writing"] += writes
        with open(into, "w") as f:
            f.write("\n".join(f"{name} {n}" for name, n in counts.items()))

    return lambda: watch(root, at)


def read_counts(path: Path) -> dict[str, int]:
    """What `count_operations` wrote."""
    lines = path.read_text().split("\n") if path.exists() else []
    return {name: int(n) for name, n in (line.split() for line in lines if line)}


def damage(rng: random.Random, path: Path, kind: str) -> None:
    """Damages a file in place."""
    data = bytearray(path.read_bytes())
    if kind == "flip" and data:
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    elif kind == "truncate":
        del data[rng.randrange(len(data) + 1) :]
    elif kind == "empty":
        data = bytearray()
    else:
        data = bytearray(b"null" if path.suffix in (".json", ".jsonl") else bytes(len(data)))
    path.write_bytes(data)


class Disk:
    """A file system at a folder, whose size and mode can be changed; a plain folder where none can be mounted.

    Attributes:
      real: whether one is mounted.
    """

    def __init__(self, folder: Path):
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.real = self._mount("-t", "tmpfs", "-o", "size=4g", "tmpfs", str(folder))

    def resize(self, size: int) -> None:
        """Makes room for `size` bytes in all."""
        self._mount("-o", f"remount,rw,size={size}", str(self.folder))

    def read_only(self) -> None:
        """Refuses all writing."""
        self._mount("-o", "remount,ro", str(self.folder))

    def used(self) -> int:
        """Bytes that are used."""
        status = os.statvfs(self.folder)
        return (status.f_blocks - status.f_bfree) * status.f_frsize

    def unmount(self) -> None:
        """Removes it with all it holds."""
        if self.real:
            subprocess.run(["umount", str(self.folder)], check=False, capture_output=True)

    @staticmethod
    def _mount(*arguments: str) -> bool:
        with contextlib.suppress(FileNotFoundError):
            return subprocess.run(["mount", *arguments], check=False, capture_output=True).returncode == 0
        return False


@contextlib.contextmanager
def disk(folder: Path) -> Iterator[Disk]:
    """A `Disk` for the length of a `with` block."""
    made = Disk(folder)
    try:
        yield made
    finally:
        made.unmount()


def replace_folder(source: Path, target: Path) -> None:
    """Makes `target` a copy of `source`, without replacing the folder itself, which may be mounted."""
    target.mkdir(parents=True, exist_ok=True)
    for path in target.iterdir():
        shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
    shutil.copytree(source, target, dirs_exist_ok=True, symlinks=True)


FULL, READ_ONLY = errno.ENOSPC, errno.EROFS
