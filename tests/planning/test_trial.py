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
    with pytest.raises(UserError, match=r"config\.plan\.trial=.*: no finished run is there"):
        read_trial(Workdir(tmp_path))
