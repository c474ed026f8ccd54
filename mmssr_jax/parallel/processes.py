"""One command in several processes: what the main process does for all, and how a failure reaches every process."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from mmssr_jax.core.artifact import Artifact
from mmssr_jax.core.errors import UserError
from mmssr_jax.core.stage import StageContext
from mmssr_jax.parallel import hosts

T = TypeVar("T")


@dataclasses.dataclass(frozen=True)
class Group:
    """The processes of this command, as `core.shards` needs them.

    Attributes:
      joint: one model spans the processes, so that all of them work on every part.
    """

    joint: bool = False

    @property
    def index(self) -> int:
        """The index of this process."""
        return hosts.index()

    @property
    def count(self) -> int:
        """The number of processes."""
        return hosts.count()

    def from_main(self, flags: np.ndarray) -> np.ndarray:
        """The main process's flags, bool [N], in every process."""
        return hosts.broadcast_from_main(flags)

    def wait(self, name: str) -> None:
        """A barrier: returns when every process has called it."""
        hosts.wait(name)


def run_on_all(work: Callable[[], T], *, joint: bool = False) -> T:
    """Calls `work` in every process and waits for all.

    Args:
      work: what to call.
      joint: the processes exchange numbers within `work`. One that fails there with anything but a UserError, which all
        of them raise, cannot meet the others any more: it ends, and its connections break.

    Raises:
      UserError: `work` failed in another process (otherwise the others would wait forever).
      Exception: what `work` raised here.
    """
    if hosts.count() == 1:
        return work()
    result, error = _try(work)
    if joint and error is not None and not isinstance(error, UserError):
        raise error
    _join(error)
    return result  # type: ignore[return-value]  # without an error there is a result


def run_on_main(work: Callable[[], None]) -> None:
    """Calls `work` in the main process; the others wait until it has returned.

    Raises:
      UserError: as `run_on_all`.
    """
    _join(_try(work)[1] if hosts.is_main() else None)


def main_process_first(work: Callable[[], T]) -> T:
    """Calls `work` in the main process first and then in all others.

    Raises:
      UserError: as `run_on_all`.
    """
    if hosts.count() == 1:
        return work()
    result, error = _try(work) if hosts.is_main() else (None, None)
    _join(error)
    if not hosts.is_main():
        result, error = _try(work)
    _join(error)
    return result  # type: ignore[return-value]


def claim(
    ctx: StageContext, path: Path, *, stage: str, settings: Any, inputs: Mapping[str, str] | None = None
) -> Artifact:
    """`StageContext.claim` in all processes; only the main process clears a folder that may be overwritten."""

    def claimed() -> Artifact:
        main = hosts.is_main()
        return ctx.claim(path, stage=stage, settings=settings, inputs=inputs, may_overwrite=main, lock=main)

    return main_process_first(claimed)


def _try(work: Callable[[], T]) -> tuple[T | None, Exception | None]:
    try:
        return work(), None
    except Exception as e:  # a full disk, or a fault of ours, must reach the others too
        return None, e


def _join(error: Exception | None) -> None:
    """Waits for all processes and raises if one of them has failed."""
    failed = int(hosts.process_sum(np.int32(error is not None)))
    if error is not None:
        raise error
    if failed:
        raise UserError("another process stopped; its error line gives the cause")
