"""Metrics as JSONL: `{"step": 10, "name": "loss", "value": 1.5, "time": ...}` per line, append-only within a run.

TensorBoard and Weights & Biases can be written beside it, where their packages are installed; the JSONL is what the
report reads.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from mmssr_jax.core import files
from mmssr_jax.core.errors import UserError


class Writer(Protocol):
    """Takes the scalars of one run."""

    def write_scalars(self, step: int, scalars: Mapping[str, float]) -> None:
        """Records the scalars of a step."""

    def close(self) -> None:
        """Flushes and closes."""


class MetricWriter:
    """Writes scalars of one run; the interface of clu's writers.

    A resumed run drops the rows after the step that it resumes from, so that no step occurs twice.
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
        self._file.write(_lines(step, scalars))
        self._file.flush()

    def close(self) -> None:
        """Syncs and closes the file."""
        os.fsync(self._file.fileno())
        self._file.close()


def append_scalars(path: Path, step: int, scalars: Mapping[str, float]) -> None:
    """Appends a step's scalars in a single write, so that lines of several processes do not interleave."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "a", encoding="utf-8") as f:
        f.write(_lines(step, scalars))


def _lines(step: int, scalars: Mapping[str, float]) -> str:
    now = round(time.time(), 3)
    rows = [{"step": step, "name": name, "value": float(value), "time": now} for name, value in scalars.items()]
    return "".join(json.dumps(row) + "\n" for row in rows)


class TensorBoardWriter:
    """Event files for TensorBoard.

    Raises:
      UserError: tensorboardX is not installed.
    """

    def __init__(self, folder: Path, *, resume_step: int = 0):
        try:
            import tensorboardX
        except ImportError:
            raise UserError("TensorBoard needs tensorboardX: pip install mmssr_jax[tensorboard]") from None
        self._writer = tensorboardX.SummaryWriter(str(folder), purge_step=resume_step + 1 if resume_step else None)

    def write_scalars(self, step: int, scalars: Mapping[str, float]) -> None:
        """One point a scalar."""
        for name, value in scalars.items():
            self._writer.add_scalar(name, float(value), step)

    def close(self) -> None:
        """Writes the event file out."""
        self._writer.close()


class WandbWriter:
    """A run of Weights & Biases; a resumed run keeps its id.

    Raises:
      UserError: wandb is not installed.
    """

    def __init__(self, project: str, run: str, folder: Path):
        try:
            import wandb
        except ImportError:
            raise UserError(f"the W&B project {project!r} needs wandb: pip install 'mmssr_jax[wandb]'") from None
        folder.mkdir(parents=True, exist_ok=True)
        self._run: Any = wandb.init(project=project, name=run, id=run, resume="allow", dir=str(folder))

    def write_scalars(self, step: int, scalars: Mapping[str, float]) -> None:
        """One log entry a step."""
        self._run.log(dict(scalars), step=step)

    def close(self) -> None:
        """Ends the run."""
        self._run.finish()


class Writers:
    """Several writers as one; without any, nothing is written, as in processes that are not the main one."""

    def __init__(self, *writers: Writer):
        self._writers = writers

    def write_scalars(self, step: int, scalars: Mapping[str, float]) -> None:
        """Passes the scalars to every writer."""
        for writer in self._writers:
            writer.write_scalars(step, scalars)

    def close(self) -> None:
        """Closes every writer."""
        for writer in self._writers:
            writer.close()


def _step(line: str) -> float:
    """The line's step; infinity for a torn line, so that it is dropped."""
    try:
        return json.loads(line)["step"]
    except (json.JSONDecodeError, KeyError, TypeError):
        return float("inf")


def read_metrics(path: Path) -> list[dict[str, float | str]]:
    """All rows of a metrics file; none where there is no file."""
    return files.read_jsonl(path) if path.exists() else []
