"""Gives mutated files to every reader, each within bounds of time and memory; one JSON line.

    python benchmarks/fuzz.py --inputs=100000 --seed=0

The readers are listed in `fuzzing/targets.py`, the mutations in `fuzzing/mutations.py`. Readers run in worker
processes, not through the command line; a worker is replaced only when it dies or hangs. An input may be read
(`result`) or refused in one line (`refused`); anything else fails the run:

    crashes      another exception, or the end of the process (target: 0)
    hangs        inputs that took more than --seconds of CPU time, or ten times as long (target: 0)
    memory       inputs that added more than --memory_mib to the resident memory (target: 0)
    peak_mib     the most that one input added
    slowest_s    the longest that one input took
    per_reader   inputs, results and refusals of each reader

Each kind of failure is kept with its first input below --failed. To read one again: --replay=FOLDER, where the
folder's parent is named as the reader. What was found is kept in tests/fuzz_corpus, read by tests/test_fuzz_corpus.py.
"""

from __future__ import annotations

import collections
import json
import multiprocessing
import os
import sys
import tempfile
import time
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from absl import app, flags
from fuzzing import worker

_INPUTS = flags.DEFINE_integer("inputs", 100_000, "how many", lower_bound=1)
_SEED = flags.DEFINE_integer("seed", 0, "of the mutations")
_WORKERS = flags.DEFINE_integer("workers", 2, "processes", lower_bound=1)
_SECONDS = flags.DEFINE_float("seconds", 10.0, "the longest that an input may take")
_MEMORY_MIB = flags.DEFINE_integer("memory_mib", 512, "the most that an input may add to the resident memory")
_FAILED = flags.DEFINE_string("failed", None, "where failures are kept; by default a temporary folder")
_REPLAY = flags.DEFINE_string("replay", None, "read this one input and stop")

_START_S = 120.0  # importing and making the seeds
_PROGRESS = 5_000  # inputs from one line of progress to the next


class Worker:
    """A process and what it has still to read."""

    def __init__(self, numbers: list[int], failed: Path):
        self.numbers, self._failed = numbers, failed
        self.at: int | None = None
        self._context = multiprocessing.get_context("spawn")
        self.start()

    def start(self) -> None:
        """Starts a process for the inputs that are left."""
        self.pipe, end = self._context.Pipe()
        arguments = (end, self.numbers, _SEED.value, self._failed, _MEMORY_MIB.value)
        self.process = self._context.Process(target=_work, args=arguments, daemon=True)
        self.process.start()
        end.close()
        self.at, self.since, self.used = None, time.monotonic(), 0.0

    def poll(self) -> list[worker.Outcome]:
        """What has ended since the last call; a process that died or hangs is replaced."""
        outcomes: list[worker.Outcome] = []
        try:
            while self.pipe.poll(0):
                message = self.pipe.recv()
                self.since, self.used = time.monotonic(), _cpu_seconds(self.process.pid)
                if isinstance(message, int):
                    self.at = message
                else:
                    self.numbers = self.numbers[self.numbers.index(message.number) + 1 :]
                    self.at = None
                    outcomes.append(message)
        except EOFError:
            self.process.join()
            if self.numbers:
                outcomes.append(self._ended("crash", f"the process ended with status {self.process.exitcode}"))
            return outcomes
        allowed = _SECONDS.value if self.at is not None else _START_S
        used, since = _cpu_seconds(self.process.pid) - self.used, time.monotonic() - self.since
        if self.numbers and (used > allowed or since > 10 * allowed):  # a busy machine is no hang
            self.process.kill()
            self.process.join()
            outcomes.append(self._ended("hang", f"longer than {allowed:g} s"))
        return outcomes

    def _ended(self, kind: str, error: str) -> worker.Outcome:
        from fuzzing import targets

        if self.at is None:
            raise SystemExit(f"a worker ended between two inputs: {error}")
        names = list(targets.TARGETS)
        name, number = names[self.at % len(names)], self.at
        outcome = worker.Outcome(number, name, kind, error, time.monotonic() - self.since, 0)
        with tempfile.TemporaryDirectory() as folder:
            worker.make_input(targets.TARGETS[name], name, number, _SEED.value, Path(folder))
            worker.keep(Path(folder), self._failed, outcome)
        self.numbers = self.numbers[self.numbers.index(number) + 1 :]
        if self.numbers:
            self.start()
        return outcome


def _cpu_seconds(process: int | None) -> float:
    """What a process has used; 0 where it has ended."""
    try:
        fields = Path(f"/proc/{process}/stat").read_text().rpartition(") ")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _work(pipe: Connection, numbers: list[int], seed: int, failed: Path, memory_mib: int) -> None:
    worker.run(numbers, seed, failed, memory_mib, pipe.send)


def fuzz(failed: Path) -> dict[str, Any]:
    """The line."""
    began = time.monotonic()
    workers = [Worker(list(range(n, _INPUTS.value, _WORKERS.value)), failed) for n in range(_WORKERS.value)]
    kinds: collections.Counter[str] = collections.Counter()
    readers: dict[str, collections.Counter[str]] = collections.defaultdict(collections.Counter)
    failures: collections.Counter[str] = collections.Counter()
    peak = slowest = 0.0
    while any(w.numbers for w in workers):
        for outcome in [o for w in workers if w.numbers for o in w.poll()]:
            kinds[outcome.kind] += 1
            readers[outcome.target][outcome.kind] += 1
            peak, slowest = max(peak, outcome.grown_mib), max(slowest, outcome.seconds)
            if sum(kinds.values()) % _PROGRESS == 0:
                progress = {**kinds, "peak_mib": round(peak, 1), "slowest_s": round(slowest, 2)}
                print(
                    f"{sum(kinds.values())} inputs, {time.monotonic() - began:.0f} s: {progress}",
                    file=sys.stderr,
                    flush=True,
                )
            if outcome.kind not in ("result", "refused"):
                failure = f"{outcome.target}: {outcome.kind}: {outcome.error}"
                if failure not in failures:
                    print(f"{failure} (input {outcome.number})", file=sys.stderr, flush=True)
                failures[failure] += 1
        time.sleep(0.02)
    return {
        "inputs": sum(kinds.values()), "seconds": round(time.monotonic() - began), "results": kinds["result"],
        "refused": kinds["refused"], "crashes": kinds["crash"], "hangs": kinds["hang"], "memory": kinds["memory"],
        "peak_mib": round(peak, 1), "slowest_s": round(slowest, 2), "seed": _SEED.value,
        "per_reader": {name: dict(sorted(counts.items())) for name, counts in sorted(readers.items())},
    }  # fmt: skip


def main(_: list[str]) -> None:
    if _REPLAY.value is not None:
        from fuzzing import targets

        folder = Path(_REPLAY.value).resolve()
        print(targets.TARGETS[folder.parent.name].read(folder))
        return
    failed = Path(_FAILED.value or tempfile.mkdtemp(prefix="mmssr-fuzz-failed-"))
    line = fuzz(failed)
    print(json.dumps(line))
    if line["crashes"] or line["hangs"] or line["memory"]:
        raise SystemExit(f"failures are kept in {failed}")


if __name__ == "__main__":
    app.run(main)
