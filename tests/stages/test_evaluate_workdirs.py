"""Replicates in workdirs of their own are compared as if all their runs lay in one."""

from __future__ import annotations

import pytest

from mmssr_jax.core import files
from mmssr_jax.core.errors import UserError
from mmssr_jax.core.stage import StageContext
from mmssr_jax.core.workdir import Workdir
from mmssr_jax.stages.evaluate import stage as evaluate_stage
from tests.evaluation.tsv import FakePredictor, write_tsv

GROUPS = ("mmssr", "matched", "random")
RIGHT = {"mmssr": (8, 9, 7), "matched": (6, 8, 7), "random": (5, 5, 6)}
STATISTICS = {
    "primary": {"group": "mmssr", "baseline": "random"},
    "split": {"method": "mmssr", "matched": "matched", "random": "random"},
}


def evaluate(workdir, tsv, right, **section):
    """Evaluates the runs that `right` counts the right answers of."""
    for run in right:
        files.write_json(workdir.checkpoints(run) / "manifest.json", {"stage": "train", "config": {}, "inputs": {}})

    def answers(folder, config):
        return FakePredictor({str(i): "Yes" if i < right[folder.name] else "No" for i in range(10)})

    section = {"benchmarks": {"quiz": {"path": str(tsv)}}, "runs": tuple(right), **section}
    evaluate_stage.run(StageContext({"evaluate": section}, workdir), make_predictor=answers)
    return files.read_json(workdir.results("comparison")) if section.get("groups") else None


@pytest.fixture
def tsvs(tmp_path):
    """A benchmark for each replicate: other questions, in other workdirs."""
    for r in range(3):
        rows = [
            {"index": str(i), "question": f"Is it {r}?", "answer": "Yes", "category": "ab"[i % 2]} for i in range(10)
        ]
        write_tsv(tmp_path / f"quiz{r}.tsv", rows)
    return [tmp_path / f"quiz{r}.tsv" for r in range(3)]


@pytest.fixture
def elsewhere(tmp_path, tsvs):
    """Workdirs of the second and third replicate, evaluated there."""
    folders = [tmp_path / f"work{r}" for r in range(3)]
    for r in (1, 2):
        evaluate(Workdir(folders[r]), tsvs[r], {g: RIGHT[g][r] for g in GROUPS})
    return folders


def _replicates(elsewhere, first=lambda group: group):
    named = [[first(g) for g in GROUPS], [f"one/{g}" for g in GROUPS], [f"two/{g}" for g in GROUPS]]
    return {
        "workdirs": {"one": str(elsewhere[1]), "two": str(elsewhere[2])},
        "groups": {g: tuple(runs[n] for runs in named) for n, g in enumerate(GROUPS)},
        "replicates": {str(r): tuple(runs) for r, runs in enumerate(named)},
        "baseline": "random", **STATISTICS,
    }  # fmt: skip


def test_three_workdirs_give_the_statistics_of_one(tmp_path, tsvs, elsewhere):
    own = {g: RIGHT[g][0] for g in GROUPS}
    found = evaluate(Workdir(elsewhere[0]), tsvs[0], own, **_replicates(elsewhere))
    together = {f"{g}_{r}": RIGHT[g][r] for g in GROUPS for r in range(3)}
    expected = evaluate(
        Workdir(tmp_path / "all"), tsvs[0], together, baseline="random", **STATISTICS,
        groups={g: tuple(f"{g}_{r}" for r in range(3)) for g in GROUPS},
        replicates={str(r): tuple(f"{g}_{r}" for g in GROUPS) for r in range(3)},
    )  # fmt: skip
    assert found["replicates"] == expected["replicates"]
    assert found["replicates"]["primary"]["mean"] == pytest.approx((30 + 40 + 10) / 3)
    assert found["replicates"]["split"]["measures"]["quiz"]["scores"]["mean"] == pytest.approx((20 + 10 + 0) / 3)
    assert found["groups"]["mmssr"]["runs"] == ["mmssr"]  # other questions are compared inside replicates only


def test_a_workdir_without_runs_of_its_own_compares_those_of_others(tmp_path, tsvs, elsewhere):
    own = {g: RIGHT[g][0] for g in GROUPS}
    evaluate(Workdir(elsewhere[0]), tsvs[0], own)
    settings = _replicates(elsewhere, first=lambda group: f"zero/{group}")
    settings["workdirs"]["zero"] = str(elsewhere[0])
    before = sorted(elsewhere[0].rglob("*"))
    found = evaluate(Workdir(tmp_path / "none"), tsvs[0], {}, **settings)
    assert found["groups"] == {}
    assert found["replicates"]["primary"]["replicates"] == 3
    assert sorted(elsewhere[0].rglob("*")) == before


@pytest.mark.parametrize(("change", "message"), [
    ({"workdirs": {"one": "x"}}, r"'two' is not a key of config.evaluate.workdirs, which are one"),
    ({"answering": "rank"}, r"run 'one/mmssr' was evaluated on 'quiz' with other settings \(answering: None -> 'rank'"),
    ({"benchmarks": {"other": {"path": "quiz.tsv"}}}, r"run 'one/mmssr' has no predictions of 'other'"),
])  # fmt: skip
def test_what_does_not_fit_is_one_line(tmp_path, tsvs, elsewhere, change, message):
    settings = {**_replicates(elsewhere), **change}
    if "benchmarks" in change:
        settings["benchmarks"] = {"other": {"path": str(tsvs[0])}}
    if change.get("workdirs"):
        settings["workdirs"] = {"one": str(elsewhere[1])}
    with pytest.raises(UserError, match=message):
        evaluate(Workdir(elsewhere[0]), tsvs[0], {"mmssr": 1, "matched": 1, "random": 1}, **settings)
    assert not Workdir(elsewhere[0]).all_results.exists()
