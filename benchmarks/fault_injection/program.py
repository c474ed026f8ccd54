"""Runs the program in forked processes, which share what importing it costs."""

from __future__ import annotations

import contextlib
import dataclasses
import importlib
import json
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from mmssr_jax import main

_POLL_S = 0.02


@dataclasses.dataclass(frozen=True)
class Ended:
    """How a run ended.

    Attributes:
      status: the exit status; negative for the signal that ended it.
      output: of both streams.
      seconds: how long it took.
      hung: it was ended because it took too long.
    """

    status: int
    output: str
    seconds: float
    hung: bool

    @property
    def errors(self) -> list[str]:
        """The lines that are meant for the user."""
        return [line for line in self.output.splitlines() if line.startswith("error: ")]

    @property
    def traceback(self) -> bool:
        """Whether a traceback reached the output, or the run ended otherwise than the program may end."""
        return "Traceback (most recent call last)" in self.output or self.status not in (0, 2, 130)

    @property
    def clear_error(self) -> bool:
        """Whether it ended with exactly one error line and status 2."""
        return self.status == 2 and len(self.errors) == 1 and not self.traceback


def load(stages: Sequence[str]) -> None:
    """Imports all that runs of these stages need, without starting a thread or a device: neither survives a fork."""
    from jax._src import xla_bridge

    for name in stages:
        main.load_stage(name)
    for module in ("tensorflow_datasets", "mmssr_jax.pool.tfds_builder", "orbax.checkpoint", "transformers"):
        importlib.import_module(module)
    assert not xla_bridge.backends_are_initialized(), "a device was started: a forked run would hang"


class Run:
    """Work in a forked process, in a process group of its own.

    Args:
      work: what it does; returns the exit status.
      log: the file for its output.
    """

    def __init__(self, work: Callable[[], int], log: Path):
        self._log, self._began = log, time.monotonic()
        log.unlink(missing_ok=True)
        sys.stdout.flush()
        sys.stderr.flush()
        self.process = os.fork()
        if self.process == 0:
            _child(work, log)

    def kill(self, number: int = signal.SIGKILL) -> None:
        """Sends a signal to the process, and SIGKILL to all that it started."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            if number == signal.SIGKILL:
                os.killpg(self.process, number)
            else:
                os.kill(self.process, number)

    def wait(self, timeout_s: float) -> Ended:
        """Waits for its end, which comes after `timeout_s` seconds at the latest."""
        status = hung = None
        while status is None:
            done, found = os.waitpid(self.process, os.WNOHANG)
            if done:
                status = os.waitstatus_to_exitcode(found)
            elif time.monotonic() - self._began > timeout_s and not hung:
                hung = True
                self.kill()
            else:
                time.sleep(_POLL_S)
        self.kill()
        output = self._log.read_text(errors="replace") if self._log.exists() else ""
        return Ended(status, output, time.monotonic() - self._began, bool(hung))

    def ends_within(self, seconds: float) -> bool:
        """Whether it ends by itself within `seconds`; does not collect its status."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            if os.waitid(os.P_PID, self.process, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None:
                return True
            time.sleep(_POLL_S)
        return False


def start(arguments: Sequence[str], log: Path, before: Callable[[], None] = lambda: None) -> Run:
    """A run of the program; `before` is called in its process, such as to arrange a fault."""

    def work() -> int:
        before()
        return main.main(["mmssr_jax", *arguments])

    return Run(work, log)


def call(function: Callable[[], Any], log: Path, timeout_s: float = 600.0) -> Any:
    """The result (as JSON) of a function in a forked process, such as one that starts devices."""
    result = log.with_suffix(".result")

    def work() -> int:
        result.write_text(json.dumps(function()))
        return 0

    ended = Run(work, log).wait(timeout_s)
    if ended.status != 0:
        raise RuntimeError(f"status {ended.status}: {ended.output[-2000:]}")
    return json.loads(result.read_text())


def _child(work: Callable[[], int], log: Path) -> None:
    """Runs `work` in this process, which ends with its status and never returns."""
    status = 1
    try:
        os.setsid()
        descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(descriptor, 1)
        os.dup2(descriptor, 2)
        status = work()
    except BaseException:
        traceback.print_exc()
    finally:
        with contextlib.suppress(Exception):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(status)
