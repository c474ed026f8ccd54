"""One process that reads mutated inputs, each within a bound of memory, and reports what each came to."""

from __future__ import annotations

import ctypes
import dataclasses
import hashlib
import os
import random
import re
import resource
import shutil
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

from absl import logging

_PACKAGE = "mmssr_jax"
_ADDRESS_SPACE = 6 << 30  # bytes beyond what is mapped after the imports: what asks for more gets a MemoryError


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What came of one input.

    Attributes:
      number, target: which input.
      kind: "result", "refused", "crash" or "memory".
      error: for the last two, the exception and its innermost place in the package.
      seconds: of reading.
      grown_mib: resident memory at most while it was read, less before.
    """

    number: int
    target: str
    kind: str
    error: str
    seconds: float
    grown_mib: float


def make_input(target: Any, name: str, number: int, seed: int, folder: Path) -> None:
    """Writes input `number` to an empty folder; equal numbers and seeds make equal files."""
    digest = hashlib.sha256(f"{seed}:{name}:{number}".encode()).digest()
    for path, data in target.make(random.Random(digest)).items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(data)


def run(numbers: list[int], seed: int, failed: Path, memory_mib: int, report: Callable[[Any], None]) -> None:
    """Reads inputs; before each its number is reported, after it its `Outcome`.

    Args:
      numbers: of the inputs.
      seed: of the mutations.
      failed: where inputs that ended badly are kept.
      memory_mib: what an input may add to the resident memory.
      report: gets what the driver shall know.
    """
    from . import targets

    logging.set_verbosity(logging.FATAL)
    warnings.simplefilter("ignore")
    names = list(targets.TARGETS)
    mapped = int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    resource.setrlimit(resource.RLIMIT_AS, (mapped + _ADDRESS_SPACE, resource.RLIM_INFINITY))
    with tempfile.TemporaryDirectory(prefix="mmssr-fuzz-") as scratch:
        for number in numbers:
            name = names[number % len(names)]
            folder = Path(scratch) / "input"
            folder.mkdir()
            report(number)
            make_input(targets.TARGETS[name], name, number, seed, folder)
            outcome = _read(targets.TARGETS[name], name, number, folder, targets.REFUSALS, memory_mib)
            if outcome.kind in ("crash", "memory"):
                keep(folder, failed, outcome)
            report(outcome)
            shutil.rmtree(folder)
            _release_memory()


def keep(folder: Path, failed: Path, outcome: Outcome) -> None:
    """Keeps the first input of each kind of failure."""
    kept = failed / outcome.target / re.sub(r"\W+", "_", outcome.error or outcome.kind)[:80]
    if not kept.exists():
        shutil.copytree(folder, kept, symlinks=True)


def _read(target: Any, name: str, number: int, folder: Path, refusals: tuple[type, ...], memory_mib: int) -> Outcome:
    before = _reset_peak()
    began = time.monotonic()
    kind, error = "result", ""
    try:
        target.read(folder)
    except refusals:
        kind = "refused"
    except BaseException as e:  # a panic of a Rust library is no Exception
        kind, error = "crash", _place(e)
    seconds = time.monotonic() - began
    grown = _memory("VmHWM") - before
    if grown > memory_mib:
        kind, error = "memory", error or f"{grown:.0f} MiB"
    return Outcome(number, name, kind, error, seconds, grown)


def _place(error: BaseException) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    own = [f for f in frames if f"/{_PACKAGE}/" in f.filename] or frames
    place = own[-1].filename.rpartition(f"/{_PACKAGE}/")[2]
    return f"{type(error).__name__} at {place}:{own[-1].lineno} ({' '.join(str(error).split())[:120]})"


def _memory(field: str) -> float:
    """Of this process, in MiB (Linux)."""
    status = Path("/proc/self/status").read_text()
    return int(re.search(rf"{field}:\s+(\d+)", status)[1]) / 1024  # type: ignore[index]


def _reset_peak() -> float:
    """Begins a new peak of the resident memory at what it is now, which is returned."""
    Path("/proc/self/clear_refs").write_text("5")
    return _memory("VmRSS")


def _release_memory() -> None:
    """Returns freed memory to the system, so that an input is not charged for another's."""
    ctypes.CDLL(None).malloc_trim(0)
