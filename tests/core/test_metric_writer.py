"""A step is in the metrics once, however often the run was cut off."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from mmssr_jax.core.errors import UserError
from mmssr_jax.core.metric_writer import MetricWriter, TensorBoardWriter, WandbWriter, Writers, read_metrics


def write(path, steps, resume_step=0):
    writer = MetricWriter(path, resume_step=resume_step)
    for step in steps:
        writer.write_scalars(step, {"loss": step / 2, "time/wait": 0.1})
    writer.close()


def rows(path):
    return [(r["step"], r["name"], r["value"]) for r in read_metrics(path)]


def test_one_line_a_scalar(tmp_path):
    path = tmp_path / "metrics" / "run.jsonl"
    assert read_metrics(path) == []
    write(path, [1, 2])
    assert rows(path) == [(1, "loss", 0.5), (1, "time/wait", 0.1), (2, "loss", 1.0), (2, "time/wait", 0.1)]
    assert [list(json.loads(line)) for line in path.read_text().splitlines()] == [["step", "name", "value", "time"]] * 4


@pytest.mark.parametrize("resume_step", [0, 1, 2, 3])
@pytest.mark.parametrize("tail", ["", '{"step": 3, "na', '{"step": 1, "name": "loss", "val', "3", "null", "\0\0\0"])
def test_a_resumed_run_drops_later_rows_and_torn_lines(tmp_path, resume_step, tail):
    write(tmp_path / "cut.jsonl", [1, 2, 3])
    with open(tmp_path / "cut.jsonl", "a") as f:
        f.write(tail)
    write(tmp_path / "cut.jsonl", range(resume_step + 1, 5), resume_step=resume_step)
    write(tmp_path / "whole.jsonl", range(1, 5))
    assert rows(tmp_path / "cut.jsonl") == rows(tmp_path / "whole.jsonl")


def test_rows_are_on_disk_before_the_run_ends(tmp_path):
    writer = MetricWriter(tmp_path / "a.jsonl")
    writer.write_scalars(1, {"loss": 2})
    assert rows(tmp_path / "a.jsonl") == [(1, "loss", 2.0)]
    writer.close()


def test_several_writers_take_the_same_and_none_takes_nothing(tmp_path: Path):
    a, b = MetricWriter(tmp_path / "a.jsonl"), MetricWriter(tmp_path / "b.jsonl")
    for writer in (Writers(a, b), Writers()):
        writer.write_scalars(1, {"loss": 2.5})
        writer.close()
    assert [r["value"] for r in read_metrics(tmp_path / "a.jsonl")] == [2.5]
    assert [r["value"] for r in read_metrics(tmp_path / "b.jsonl")] == [2.5]


def test_what_is_not_installed_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(UserError, match="TensorBoard needs tensorboardX"):
        TensorBoardWriter(tmp_path)
    with pytest.raises(UserError, match="needs wandb"):
        WandbWriter("project", "run", tmp_path)


def test_tensorboard_gets_event_files(tmp_path: Path):
    pytest.importorskip("tensorboardX", reason="the extra [tensorboard] is not installed")
    writer = TensorBoardWriter(tmp_path)
    writer.write_scalars(1, {"loss": 1.0})
    writer.close()
    assert list(tmp_path.glob("events.*"))
