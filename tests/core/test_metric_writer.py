"""A step is in the metrics once, however often the run was cut off."""

from __future__ import annotations

import json

import pytest

from mmssr_jax.core.metric_writer import MetricWriter, read_metrics


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
