"""Preemption: on SIGTERM, which clusters send before they reclaim a machine, the run saves a checkpoint and exits."""

from __future__ import annotations

import signal
import threading
from types import FrameType, TracebackType
from typing import Any

from absl import logging
from jax.experimental import multihost_utils

from mmssr_jax.parallel import hosts


class PreemptedError(KeyboardInterrupt):
    """The run was preempted after saving a checkpoint; the same command resumes it."""


class Preemption:
    """Context manager that records SIGTERM; a second SIGTERM is handled by the previous handler.

    With several processes, jax agrees on a common step to stop at, whichever process received the signal.
    """

    def __init__(self) -> None:
        self._signalled = False
        self._previous: Any = None

    def __enter__(self) -> Preemption:
        if threading.current_thread() is threading.main_thread() and hosts.count() == 1:
            self._previous = signal.signal(signal.SIGTERM, self._handle)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        if self._previous is not None:
            signal.signal(signal.SIGTERM, self._previous)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        self._signalled = True
        signal.signal(signal.SIGTERM, self._previous)
        logging.warning("received signal %d: saving after this step; a second signal ends the process at once", number)

    def reached(self, step: int) -> bool:
        """Whether the run must save and stop after this step; every process must call this at every step."""
        if hosts.count() > 1:
            return bool(multihost_utils.reached_preemption_sync_point(step))
        return self._signalled
