import pytest

from mmssr_jax.core import files
from mmssr_jax.core.errors import UserError
from mmssr_jax.core.workdir import Workdir
from mmssr_jax.planning.trial import read_trial

MADE = {"stage": "any", "config": {}, "inputs": {}}


def test_rates_are_seconds_over_the_work_left_behind(tmp_path):
    workdir = Workdir(tmp_path)
    rows = [
        {"stage": "ingest", "seconds": 12.0, "peak_mib": 300},
        {"stage": "score", "seconds": 50.0, "peak_mib": 900},
        {"stage": "score", "seconds": 0.1, "peak_mib": 200},  # the run after it found everything done
        {"stage": "train", "seconds": 30.0, "peak_mib": 1000},
        {"stage": "train_scorer", "seconds": 20.0, "peak_mib": 1000},
        {"stage": "report", "seconds": 3.0, "peak_mib": 100},
    ]
    files.write_jsonl(workdir.metrics("stages"), rows)
    files.write_json(workdir.pool / "manifest.json", MADE | {"counts": {"samples": 350, "rejected": 50}})
    files.write_json(workdir.scores / "manifest.json", MADE | {"counts": {"scored": 250}})
    for run, tokens in (("scorer", 900), ("a", 450), ("b", 450)):
        files.write_json(workdir.training_results(run), {"tokens": tokens, "packing": 0.9})
    found = read_trial(workdir)
    assert {stage: m.rate for stage, m in found.items()} == pytest.approx(
        {"ingest": 12 / 400, "score": 50 / 250, "train": 30 / 1000, "train_scorer": 20 / 1000}
    )
    assert found["score"].peak_mib == 900


def test_a_folder_without_a_run(tmp_path):
    with pytest.raises(UserError, match=r"config\.plan\.trial=.*: the folder holds no finished run"):
        read_trial(Workdir(tmp_path))


def test_what_was_spent_once_is_not_scaled(tmp_path):
    """The first shard and the first step compile; the others took 0.5 s each."""
    workdir = Workdir(tmp_path)
    rows = [{"stage": "score", "seconds": 30.0, "peak_mib": 1}, {"stage": "train", "seconds": 20.0, "peak_mib": 1}]
    files.write_jsonl(workdir.metrics("stages"), rows)
    files.write_json(workdir.scores / "manifest.json", MADE | {"counts": {"scored": 400}})
    speeds = [{"step": n, "name": "time/samples_per_s", "value": v} for n, v in enumerate((4.0, 200.0, 200.0, 200.0))]
    files.write_jsonl(workdir.metrics("score"), speeds)
    files.write_json(workdir.training_results("a"), {"tokens": 900, "packing": 0.9})
    steps = [{"step": n, "name": "time/seconds", "value": v} for n, v in ((1, 9.0), (3, 1.0), (5, 1.0), (7, 1.0))]
    files.write_jsonl(workdir.metrics("a"), steps)
    found = read_trial(workdir)
    assert (found["score"].once, found["score"].rate) == pytest.approx((28.0, 2.0 / 400))
    assert (found["train"].once, found["train"].rate) == pytest.approx((16.5, 3.5 / 1000))
