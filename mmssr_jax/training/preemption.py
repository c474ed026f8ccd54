"""SIGTERM, as clusters send it before they take a machine away: the run saves, says so, and ends."""

from __future__ import annotations

import signal
import threading
from types import FrameType, TracebackType
from typing import Any

from absl import logging
from jax.experimental import multihost_utils

from mmssr_jax.parallel import hosts


class PreemptedError(KeyboardInterrupt):
    """The run was told to end and has saved; the same command goes on where it stopped."""


class Preemption:
    """Notices SIGTERM while it is entered; a second one ends the process as it would have.

    Of several processes jax tells all of them a common step to stop at, whichever was told to end.
    """

    def __init__(self) -> None:
        self._told = False
        self._before: Any = None

    def __enter__(self) -> Preemption:
        if threading.current_thread() is threading.main_thread() and hosts.count() == 1:
            self._before = signal.signal(signal.SIGTERM, self._tell)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        if self._before is not None:
            signal.signal(signal.SIGTERM, self._before)

    def _tell(self, number: int, frame: FrameType | None) -> None:
        self._told = True
        signal.signal(signal.SIGTERM, self._before)
        logging.warning("told to end (signal %d): saving after this step; a second signal ends at once", number)

    def reached(self, step: int) -> bool:
        """Whether the run is to save and end after this step; every process asks at every step."""
        if hosts.count() > 1:
            return bool(multihost_utils.reached_preemption_sync_point(step))
        return self._told
