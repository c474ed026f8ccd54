"""Seconds per unit of work, measured in a finished run."""

from __future__ import annotations

import dataclasses
import itertools
import statistics
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mmssr_jax.core import files
from mmssr_jax.core.artifact import MANIFEST, read_manifest
from mmssr_jax.core.errors import UserError
from mmssr_jax.core.saved import read_saved
from mmssr_jax.core.workdir import Workdir

_ENOUGH = 3  # shards or steps, of which the first compiles


@dataclasses.dataclass(frozen=True)
class Measured:
    """A stage of the trial.

    Attributes:
      seconds: total duration.
      work: in the unit of `workload.UNITS`.
      peak_mib: memory of the process.
      once: the part of `seconds` that does not depend on the work: compilation, loading, evaluation of the scorer.
    """

    seconds: float
    work: float
    peak_mib: float
    once: float = 0.0

    @property
    def rate(self) -> float:
        """Seconds per unit of work."""
        return (self.seconds - self.once) / self.work

    def predicted(self, work: float, *, faster: float = 1.0) -> float:
        """Predicted seconds for an amount of work on devices that are `faster` times as fast."""
        return self.once + self.rate * work / faster


def read_trial(workdir: Workdir) -> dict[str, Measured]:
    """The measurements of each finished stage whose work is known, by its name.

    Raises:
      UserError: the folder holds no run.
    """
    times = workdir.metrics("stages")
    if not times.exists():
        raise UserError(f"config.plan.trial={workdir.root}: the folder holds no finished run ({times} does not exist)")
    done: dict[str, tuple[float, float]] = {}
    for row in files.read_jsonl(times):
        longest = done.get(row["stage"], (0.0, 0.0))
        done[row["stage"]] = max(longest, (float(row["seconds"]), float(row["peak_mib"])))  # reruns do nothing
    work, steady = dict(_work(workdir)), dict(_steady(workdir))
    return {
        stage: Measured(seconds, work[stage], peak, max(seconds - steady.get(stage, seconds), 0.0))
        for stage, (seconds, peak) in done.items()
        if work.get(stage) and seconds
    }


def _work(workdir: Workdir) -> Iterator[tuple[str, float]]:
    """The work of each stage, from what it left behind."""
    pool = _counts(workdir.pool)
    yield "ingest", pool.get("samples", 0) + pool.get("rejected", 0)
    yield "judge", _counts(workdir.judge).get("ratings", 0)
    yield "score", _counts(workdir.scores).get("scored", 0)
    selections = [p for p in workdir.selections.glob(f"*/{MANIFEST}") if not files.is_temporary(p.parent)]
    yield "select", pool.get("samples", 0) * len(selections)
    trained = {path.stem: _padded_tokens(path) for path in _training_results(workdir)}
    scorer = sum(tokens for run, tokens in trained.items() if run.startswith("scorer"))
    yield "train_scorer", scorer
    yield "train", sum(trained.values()) - scorer


def _steady(workdir: Workdir) -> Iterator[tuple[str, float]]:
    """The seconds of a stage that grow with its work: as if every shard, or step, had taken as long as the median one.

    Stages that logged fewer than three of them are left out.
    """
    rates = [row["value"] for row in _logged(workdir.metrics("score"), "time/samples_per_s")]
    if len(rates) >= _ENOUGH:
        yield "score", _counts(workdir.scores).get("scored", 0) / statistics.median(rates)
    runs = {path.stem: _steady_steps(workdir, path.stem) for path in _training_results(workdir)}
    scorer = [seconds for run, seconds in runs.items() if run.startswith("scorer")]
    others = [seconds for run, seconds in runs.items() if not run.startswith("scorer")]
    for stage, seconds in (("train_scorer", scorer), ("train", others)):
        known = [s for s in seconds if s is not None]
        if known and len(known) == len(seconds):
            yield stage, sum(known)


def _steady_steps(workdir: Workdir, run: str) -> float | None:
    """The number of steps of a run times the median seconds of one."""
    rows = _logged(workdir.metrics(run), "time/seconds")
    pairs = itertools.pairwise([{"step": 0}, *rows])
    each = [row["value"] / (row["step"] - last["step"]) for last, row in pairs if row["step"] > last["step"]]
    return rows[-1]["step"] * statistics.median(each) if len(each) >= _ENOUGH else None


def _logged(path: Path, name: str) -> list[dict[str, Any]]:
    """The rows of one metric, in the order of their steps."""
    rows = files.read_jsonl(path) if path.exists() else []
    return sorted((row for row in rows if row.get("name") == name), key=lambda row: row["step"])


def _training_results(workdir: Workdir) -> list[Path]:
    return sorted(workdir.training_results("run").parent.glob("*.json"))


def _counts(folder: Path) -> dict[str, Any]:
    return read_manifest(folder)["counts"] if (folder / MANIFEST).exists() else {}


def _padded_tokens(path: Path) -> float:
    """Tokens of a training run with the padding of its rows."""
    result = read_saved(path, {"tokens": int}, stage="train")
    return result["tokens"] / result["packing"] if result.get("packing") else 0.0
