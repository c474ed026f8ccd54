"""The seconds of a workdir's stages and training runs, and the stages that a group's selection needs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mmssr_jax.core.artifact import MANIFEST
from mmssr_jax.core.json_format import json_numbers
from mmssr_jax.core.saved import read_saved
from mmssr_jax.core.workdir import Workdir
from mmssr_jax.evaluation.break_even import selection_cost, stage_seconds, training_seconds

_SCORING = ("judge", "train_scorer", "score")


def cost(workdir: Workdir, groups: Mapping[str, Sequence[str]], *, full: str) -> dict[str, Any]:
    """The field `cost` of `results/comparison.json` (see `evaluation.break_even`), as the workdir measured it."""
    stages = stage_seconds(workdir)
    runs = {run for members in groups.values() for run in members}
    training = {run: seconds for run in sorted(runs) if (seconds := training_seconds(workdir, run)) is not None}
    needs = {name: set().union(*(_stages_of_run(workdir, run) for run in members)) for name, members in groups.items()}
    return dict(json_numbers(selection_cost(stages, training, groups=groups, needs=needs, full=full)))


def _stages_of_run(workdir: Workdir, run: str) -> set[str]:
    """The stages that the selections in a run's training data need; of a run trained on the pool, none."""
    path = workdir.checkpoints(run) / MANIFEST
    config = read_saved(path, {"config": dict}, stage="train")["config"] if path.exists() else {}
    parts = [config, *(config.get("mixture") or {}).values()]
    names = {part["selection"] for part in parts if part.get("selection")}
    return set().union(*(_stages_of_selection(workdir, name) for name in names))


def _stages_of_selection(workdir: Workdir, name: str) -> set[str]:
    """The stages that a selection needs, with those of the selection that it is compared with."""
    path = workdir.selection(name) / MANIFEST
    inputs = read_saved(path, {"inputs": dict}, stage="select")["inputs"] if path.exists() else {}
    stages = {"select"}
    for key in inputs:
        kind, _, other = key.partition(" ")
        if kind == "scores":
            stages |= set(_SCORING)
        elif kind == "features":
            stages.add("score")
        elif kind == "selection":
            stages |= _stages_of_selection(workdir, other)
    return stages
