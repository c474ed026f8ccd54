"""The field `cost` of results/comparison.json, from what the stages and the training runs have measured."""

from __future__ import annotations

import pytest

from mmssr_jax.core import files
from mmssr_jax.core.workdir import Workdir
from mmssr_jax.stages.evaluate.selection_cost import cost


@pytest.fixture
def workdir(tmp_path):
    work = Workdir(tmp_path)
    stages = {"judge": 5.0, "train_scorer": 100.0, "score": 40.0, "select": 5.0, "train": 900.0}
    files.write_jsonl(work.metrics("stages"), [{"stage": s, "seconds": v} for s, v in stages.items()])
    for run, config, seconds in (
        ("mmssr_0", {"selection": "mmssr", "mixture": {}}, [30.0, 20.0]),
        ("mixed_0", {"selection": None, "mixture": {"own": {"selection": "matched"}, "text": {}}}, [50.0]),
        ("random_0", {"selection": "random"}, [45.0, 5.0]),
        ("full_0", {"selection": None}, [200.0, 150.0]),
    ):
        files.write_json(work.checkpoints(run) / "manifest.json", {"config": config})
        rows = [{"step": n, "name": "time/seconds", "value": s} for n, s in enumerate(seconds)]
        files.write_jsonl(work.metrics(run), [*rows, {"step": 1, "name": "loss", "value": 3.0}])
    for name, inputs in (
        ("mmssr", ("pool", "scores", "scorer")), ("matched", ("pool", "selection mmssr")), ("random", ("pool",)),
    ):  # fmt: skip
        files.write_json(work.selection(name) / "manifest.json", {"inputs": dict.fromkeys(inputs, "x")})
    return work


def test_stages_and_runs_are_read_from_the_workdir(workdir):
    groups = {name: (f"{name}_0",) for name in ("mmssr", "mixed", "random", "full")}
    result = cost(workdir, groups, full="full")
    assert result["stages"] == {"judge": 5, "train_scorer": 100, "score": 40, "select": 5}
    found = {name: entry.get("selection_seconds") for name, entry in result["groups"].items()}
    assert found == {"mmssr": 150, "mixed": 150, "random": 5, "full": None}
    assert {name: entry["training_seconds"] for name, entry in result["groups"].items()} == {
        "mmssr": 50, "mixed": 50, "random": 50, "full": 350,
    }  # fmt: skip
    assert result["groups"]["mmssr"]["break_even_runs"] == 0.5


def test_a_run_without_times_is_null(workdir):
    workdir.metrics("full_0").unlink()
    groups = {name: (f"{name}_0",) for name in ("mmssr", "full")}
    result = cost(workdir, groups, full="full")
    assert result["groups"]["full"] == {"training_seconds": None}
    assert result["groups"]["mmssr"]["break_even_runs"] is None
