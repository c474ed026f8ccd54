"""Metrics as JSONL: `{"step": 10, "name": "loss", "value": 1.5, "time": ...}` a line, append-only within a run."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping
from pathlib import Path

from mmssr_jax.core import files


class MetricWriter:
    """Writes scalars of one run; the interface of clu's writers.

    A resumed run drops the rows after the step it goes on from, so that a step is never there twice.
    The only field that differs between equal runs is `time` (and values whose name starts with "time/").
    """

    def __init__(self, path: Path, *, resume_step: int = 0):
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists():
            kept = [line for line in path.read_text().splitlines() if _step(line) <= resume_step]
            files.write_text(path, "".join(line + "\n" for line in kept))
        self._file = open(path, "a", encoding="utf-8")  # noqa: SIM115 - lives as long as the run

    def write_scalars(self, step: int, scalars: Mapping[str, float]) -> None:
        """Appends one line a scalar."""
        now = round(time.time(), 3)
        for name, value in scalars.items():
            row = {"step": step, "name": name, "value": float(value), "time": now}
            self._file.write(json.dumps(row) + "\n")
        self._file.flush()

    def close(self) -> None:
        """Syncs and closes the file."""
        os.fsync(self._file.fileno())
        self._file.close()


def _step(line: str) -> float:
    """The line's step; infinity for a torn line, so that it is dropped."""
    try:
        return json.loads(line)["step"]
    except (json.JSONDecodeError, KeyError, TypeError):
        return float("inf")


def read_metrics(path: Path) -> list[dict[str, float | str]]:
    """All rows of a metrics file; none where there is no file."""
    return files.read_jsonl(path) if path.exists() else []
