"""Several processes of one command, as a group of jax or independent, and what they said when one of them fails."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.xla_flags import QUICK

REPO = Path(__file__).resolve().parents[1]

_LAST_LINES = 40
_GRACE_S = 60  # how long the others may take to notice that one has failed
_FATAL = re.compile(r"^F\d{4} .*", re.MULTILINE)  # absl's level FATAL: so jax's distributed service ends a process


class ProcessGroup:
    """Processes that run one command on the CPU, one device each.

    Args:
      command: what each of them runs, in the project's root.
      count: how many.
      logs: a folder for what each process writes, `0.log` and so on; processes of an earlier group are added to.
      joined: they form one group of jax, on a free port; otherwise they know nothing of each other.
      env: more variables.
    """

    def __init__(
        self, command: Sequence[str], count: int = 1, *, logs: Path, joined: bool = True, env: Mapping[str, str] = {}
    ):
        self._command = list(command)
        self._logs = logs
        self._env = {**os.environ, "JAX_PLATFORMS": "cpu", "XLA_FLAGS": QUICK, "PYTHONUNBUFFERED": "1", **env}
        self.members: list[subprocess.Popen] = []
        self._killed: list[subprocess.Popen] = []
        group = {}
        if joined and count > 1:
            group = {"JAX_COORDINATOR_ADDRESS": f"127.0.0.1:{_free_port()}", "JAX_NUM_PROCESSES": str(count)}
        for n in range(count):
            self.add(**group, **({"JAX_PROCESS_ID": str(n)} if group else {}))

    def add(self, **env: str) -> subprocess.Popen:
        """Starts one more process, with more variables."""
        self._logs.mkdir(parents=True, exist_ok=True)
        with self._log(len(self.members)).open("ab") as log:
            process = subprocess.Popen(self._command, cwd=REPO, env={**self._env, **env}, stdout=log, stderr=log)
        self.members.append(process)
        return process

    def finish(self, *, timeout: float = 600, status: int = 0) -> list[str]:
        """Waits for all that were not killed; what each of them wrote.

        Raises:
          AssertionError: one ended with another exit status, or not in time; with the end of every log.
        """
        end = time.monotonic() + timeout
        failed = False
        while None in (states := self._states()):
            if not failed and any(state not in (None, status) for state in states):
                failed, end = True, min(end, time.monotonic() + _GRACE_S)
            if time.monotonic() > end:
                break
            time.sleep(0.05)
        if any(state != status for state in states):
            report = self.report()  # before those that still run are killed
            self.kill()
            raise AssertionError(report)
        return [self.output(n) for n, member in enumerate(self.members) if member not in self._killed]

    def kill(self, *numbers: int) -> None:
        """SIGKILL to the processes with these numbers, or to all."""
        chosen = [self.members[n] for n in numbers] or self.members
        for member in chosen:
            member.kill()
        for member in chosen:
            member.wait()
        self._killed += chosen

    def _states(self) -> list[int | None]:
        """The exit statuses of all that were not killed; None of those that run."""
        return [member.poll() for member in self.members if member not in self._killed]

    @property
    def running(self) -> bool:
        """Whether all that were not killed run."""
        return all(state is None for state in self._states())

    def wait_until(self, folder: Path, pattern: str, count: int = 1, *, timeout: float = 300) -> None:
        """Returns as soon as `count` files of a folder match a pattern.

        Raises:
          AssertionError: a process ended before, or it takes too long.
        """
        end = time.monotonic() + timeout
        while len(list(folder.glob(pattern))) < count:
            if not self.running or time.monotonic() > end:
                raise AssertionError(f"{folder}/{pattern}: fewer than {count} files\n{self.report()}")
            time.sleep(0.01)

    def output(self, n: int) -> str:
        """What process n wrote, stdout and stderr together."""
        return self._log(n).read_text(errors="replace")

    def report(self) -> str:
        """How each process ended: fatal lines of jax's distributed service, then the last lines."""
        return "\n".join(self._report(n, member) for n, member in enumerate(self.members))

    def _report(self, n: int, member: subprocess.Popen) -> str:
        text = self.output(n)
        status = "still runs" if member.poll() is None else f"ended with status {member.returncode}"
        fatal = _FATAL.findall(text)
        if any("heartbeat" in line.lower() for line in fatal):
            fatal.append("(was the machine suspended? jax ends a process that was not heard of for too long)")
        lines = [*(f"  ! {line}" for line in fatal), *(f"  | {line}" for line in text.splitlines()[-_LAST_LINES:])]
        return "\n".join([f"process {n} {status}:", *lines])

    def _log(self, n: int) -> Path:
        return self._logs / f"{n}.log"


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])
