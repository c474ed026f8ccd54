"""The statistics over replicates in results/comparison.json."""

from __future__ import annotations

import pytest

from mmssr_jax.core import files
from mmssr_jax.core.errors import UserError
from mmssr_jax.core.stage import StageContext
from mmssr_jax.core.workdir import Workdir
from mmssr_jax.stages.evaluate import stage as evaluate_stage
from tests.evaluation.tsv import FakePredictor, write_tsv

GROUPS = {g: (f"{g}_0", f"{g}_1") for g in ("mmssr", "matched", "random")}
RUNS = tuple(run for runs in GROUPS.values() for run in runs)
RIGHT = {"mmssr_0": 8, "mmssr_1": 9, "matched_0": 6, "matched_1": 8, "random_0": 5, "random_1": 5}
STATISTICS = {
    "replicates": {str(r): tuple(f"{g}_{r}" for g in GROUPS) for r in range(2)},
    "primary": {"group": "mmssr", "baseline": "random", "effect": 20.0, "deviation": 10.0},
    "split": {"method": "mmssr", "matched": "matched", "random": "random"},
}


@pytest.fixture
def workdir(tmp_path):
    work = Workdir(tmp_path / "work")
    for run in RUNS:
        files.write_json(work.checkpoints(run) / "manifest.json", {"stage": "train", "config": {}, "inputs": {}})
    return work


@pytest.fixture
def tsv(tmp_path):
    rows = [{"index": str(i), "question": "Is it?", "answer": "Yes", "category": "ab"[i % 2]} for i in range(10)]
    return write_tsv(tmp_path / "quiz.tsv", rows)


def evaluate(workdir, tsv, *, dry_run=False, **section):
    section = {"benchmarks": {"quiz": {"path": str(tsv)}}, "runs": RUNS, "groups": GROUPS, **section}
    section = {"baseline": "random", **section}

    def answers(folder, config):
        return FakePredictor({str(i): "Yes" if i < RIGHT[folder.name] else "No" for i in range(10)})

    ctx = StageContext({"evaluate": section}, workdir, dry_run=dry_run)
    evaluate_stage.run(ctx, make_predictor=answers)


def test_statistics_stand_beside_the_other_fields(workdir, tsv):
    evaluate(workdir, tsv)
    before = files.read_json(workdir.results("comparison"))
    evaluate(workdir, tsv, **STATISTICS)
    after = files.read_json(workdir.results("comparison"))
    replicates = after.pop("replicates")
    assert files.dump_json(after) == files.dump_json(before)
    assert replicates["primary"]["mean"] == 35
    assert replicates["primary"]["power"]["replicates_needed"] == 5
    measured = replicates["split"]["measures"]["quiz"]
    assert {part: entry["mean"] for part, entry in measured.items()} == {"gain": 35, "mixture": 20, "scores": 15}
    assert replicates["comparisons"]["mmssr"]["quiz/skills"]["mean"] == 35


@pytest.mark.parametrize("dry_run", [True, False])
def test_the_power_is_logged_before_the_runs(workdir, tsv, caplog, dry_run):
    caplog.set_level("INFO")
    evaluate(workdir, tsv, dry_run=dry_run, **STATISTICS)
    lines = [record.message for record in caplog.records]
    (power,) = [i for i, line in enumerate(lines) if "with probability 0.8 by 5 replicates; there are 2" in line]
    others = [i for i, line in enumerate(lines) if "mmssr_0" in line or "quiz:" in line]
    assert power < min(others)


def test_a_wrong_name_stops_before_the_runs(workdir, tsv):
    with pytest.raises(UserError, match=r"primary: 'best' is not a group"):
        evaluate(workdir, tsv, **{**STATISTICS, "primary": {"group": "best", "baseline": "random"}})
    assert not workdir.predictions("mmssr_0").exists()
