"""Seconds per unit of work, measured in a finished run."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mmssr_jax.core import files
from mmssr_jax.core.artifact import MANIFEST, read_manifest
from mmssr_jax.core.errors import UserError
from mmssr_jax.core.saved import read_saved
from mmssr_jax.core.workdir import Workdir


@dataclasses.dataclass(frozen=True)
class Measured:
    """A stage of the trial: its seconds, its work in the unit of `workload.UNITS`, its peak memory."""

    seconds: float
    work: float
    peak_mib: float

    @property
    def rate(self) -> float:
        """Seconds per unit of work."""
        return self.seconds / self.work


def read_trial(workdir: Workdir) -> dict[str, Measured]:
    """Stage -> what was measured, of every stage that the run finished and whose work is known.

    Raises:
      UserError: the folder holds no run.
    """
    times = workdir.metrics("stages")
    if not times.exists():
        raise UserError(f"config.plan.trial={workdir.root}: no finished run is there ({times} does not exist)")
    done: dict[str, tuple[float, float]] = {}
    for row in files.read_jsonl(times):
        longest = done.get(row["stage"], (0.0, 0.0))
        done[row["stage"]] = max(longest, (float(row["seconds"]), float(row["peak_mib"])))  # reruns do nothing
    work = dict(_work(workdir))
    return {s: Measured(seconds, work[s], peak) for s, (seconds, peak) in done.items() if work.get(s) and seconds}


def _work(workdir: Workdir) -> Iterator[tuple[str, float]]:
    """The work of each stage, from what it left behind."""
    pool = _counts(workdir.pool)
    yield "ingest", pool.get("samples", 0) + pool.get("rejected", 0)
    yield "judge", _counts(workdir.judge).get("ratings", 0)
    yield "score", _counts(workdir.scores).get("scored", 0)
    yield "select", pool.get("samples", 0) * len(list(workdir.selections.glob(f"*/{MANIFEST}")))
    trained = {path.stem: _padded_tokens(path) for path in workdir.training_results("run").parent.glob("*.json")}
    scorer = sum(tokens for run, tokens in trained.items() if run.startswith("scorer"))
    yield "train_scorer", scorer
    yield "train", sum(trained.values()) - scorer


def _counts(folder: Path) -> dict[str, Any]:
    return read_manifest(folder)["counts"] if (folder / MANIFEST).exists() else {}


def _padded_tokens(path: Path) -> float:
    """Tokens of a training run with the padding of its rows."""
    result = read_saved(path, {"tokens": int}, stage="train")
    return result["tokens"] / result["packing"] if result.get("packing") else 0.0
