"""What selecting costs, and when it pays against training on everything: field `cost` of `results/comparison.json`.

stages           seconds of each stage that a selection may need; null: it did not run in this workdir
full             the group trained on everything
groups.<group>   training_seconds: a run's mean, null where a run has no times (also for `full`, which has only this)
                 selection_seconds: of the stages that its selection needs, as far as they ran in this workdir
                 saved_seconds: full's training_seconds minus its own
                 share_of_full: selecting once and training once, divided by one training on everything
                 break_even_runs: trainings after which the selection has paid for itself,
                 selection_seconds / saved_seconds; null where nothing is saved
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np

from mmssr_jax.core import files
from mmssr_jax.core.metric_writer import read_metrics
from mmssr_jax.core.workdir import Workdir

SELECTION_STAGES = ("judge", "train_scorer", "score", "select")
_SECONDS = "time/seconds"


def stage_seconds(workdir: Workdir) -> dict[str, float]:
    """Stage -> its seconds, of the stages that ran in a workdir."""
    path = workdir.metrics("stages")
    return {row["stage"]: float(row["seconds"]) for row in (files.read_jsonl(path) if path.exists() else [])}


def training_seconds(workdir: Workdir, run: str) -> float | None:
    """The seconds between the first and the last step of a run, without what an interruption lost."""
    times = [float(row["value"]) for row in read_metrics(workdir.metrics(run)) if row.get("name") == _SECONDS]
    return sum(times) if times else None


def selection_cost(
    stages: Mapping[str, float], training: Mapping[str, float], *, groups: Mapping[str, Sequence[str]],
    needs: Mapping[str, Collection[str]], full: str,
) -> dict[str, Any]:  # fmt: skip
    """The field `cost`; the module docstring lists its fields.

    Args:
      stages: stage -> its seconds, of the stages that ran.
      training: run -> its seconds, of the runs whose times are known.
      groups: name -> runs.
      needs: group -> the stages that its selection needs.
      full: the group trained on everything.
    """
    everything = _mean(training, groups[full])
    result: dict[str, Any] = {full: {"training_seconds": everything}}
    for name in groups:
        if name == full:
            continue
        own, spent = _mean(training, groups[name]), sum(stages.get(stage, 0.0) for stage in needs[name])
        entry = {"training_seconds": own, "selection_seconds": spent}
        if own is None or everything is None:
            result[name] = {**entry, "saved_seconds": None, "share_of_full": None, "break_even_runs": None}
            continue
        saved = everything - own
        result[name] = {
            **entry,
            "saved_seconds": saved,
            "share_of_full": (spent + own) / everything,
            "break_even_runs": spent / saved if saved > 0 else None,
        }
    return {"stages": {stage: stages.get(stage) for stage in SELECTION_STAGES}, "full": full, "groups": result}


def _mean(training: Mapping[str, float], runs: Sequence[str]) -> float | None:
    return float(np.mean([training[run] for run in runs])) if all(run in training for run in runs) else None
