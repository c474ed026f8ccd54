"""The comparison's cells: what each depends on, which are run, and that a result that is there is not run again."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from benchmarks import evidence_run
from benchmarks.evidence_run import Replicate, compare_again, complete, config_hash, inputs_of, planned, replicates
from configs import evidence
from mmssr_jax.core.config import to_plain
from mmssr_jax.core.workdir import Workdir
from mmssr_jax.evaluation.evidence_cells import ArmResult, read_cells

PLAN = {"ours": ("base", "random-p10", "matched-p10", "mmssr-p10", "scorer"), "paper": ("expected-p10",)}


class Recorded(Replicate):
    """A replicate that records what it would run, and knows the results of all of it."""

    def __init__(self, folder: Path, further: Sequence[str] = (), seed: int = 0):
        super().__init__(seed, "small", folder, further)
        self.ran: list[str] = []

    def run(self, variant: str, arms: Sequence[str]) -> None:
        self.ran += [f"{variant}/{arm}" for arm in arms]

    def cell(self, variant: str, name: str) -> ArmResult:
        return ArmResult(self.inputs(variant, name), ("select",), 50.0, {"a": 50.0}, f"digest of {variant}/{name}")


@pytest.fixture(autouse=True)
def _scorers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evidence_run, "scorer_numbers", lambda workdir: {"concordance": 0.9})
    monkeypatch.setattr(evidence_run, "stage_seconds", lambda workdir: {"select": 1.0})


def run(folder: Path, plan: evidence_run.Plan = PLAN, **more: object) -> list[str]:
    replicate = Recorded(folder, **more)  # type: ignore[arg-type]
    complete(replicate, 0, plan, folder / "main" / "0.json", "h")
    return replicate.ran


def change_the_recipe(monkeypatch: pytest.MonkeyPatch) -> None:
    made = evidence.recipe

    def changed(scale: evidence.Scale, seed: int) -> dict[str, dict[str, Any]]:
        sections = made(scale, seed)
        return {**sections, "train_scorer": {**sections["train_scorer"], "answer_weight": 0.5}}

    monkeypatch.setattr(evidence, "recipe", changed)


def test_what_is_there_is_not_run_again(tmp_path: Path) -> None:
    assert run(tmp_path) == [f"{variant}/{arm}" for variant, arms in PLAN.items() for arm in arms]
    assert run(tmp_path) == []
    content, cells = read_cells(tmp_path / "main" / "0.json")
    assert set(cells) == {f"{variant}/{arm}" for variant, arms in PLAN.items() for arm in arms if arm != "scorer"}
    assert content["scorers"]["ours"]["concordance"] == 0.9


def test_an_added_method_costs_only_itself(tmp_path: Path) -> None:
    run(tmp_path)
    assert run(tmp_path, {"ours": (*PLAN["ours"], "top-p10"), "paper": PLAN["paper"]}) == ["ours/top-p10"]


def test_a_changed_scorer_runs_what_depends_on_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run(tmp_path)
    change_the_recipe(monkeypatch)
    assert run(tmp_path) == ["ours/matched-p10", "ours/mmssr-p10", "ours/scorer"]  # neither random nor the paper's


def test_another_flag_runs_everything_but_overwriting_does_not(tmp_path: Path) -> None:
    run(tmp_path)
    assert run(tmp_path, further=["--overwrite=score"]) == []
    assert len(run(tmp_path, further=["--config.base=other"])) == 6


def test_a_cell_run_again_is_compared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run(tmp_path)
    _, cells = read_cells(tmp_path / "main" / "0.json")
    replicate = Recorded(tmp_path)
    assert compare_again(replicate, {"ours": ("random-p10",)}, cells)
    assert replicate.ran == ["ours/random-p10"]
    monkeypatch.setattr(Recorded, "cell", lambda self, variant, name: ArmResult("", (), 1.0, {}, "other"))
    assert not compare_again(replicate, {"ours": ("random-p10",)}, cells)


def test_what_a_cell_depends_on() -> None:
    def of(variant: str = "ours", arm: str = "mmssr-p10", seed: int = 0) -> str:
        return inputs_of(seed, "small", variant, arm)

    assert of() == of()
    others = [of(seed=1), of(arm="mmssr-p30"), of(arm="matched-p10"), of("paper"), of("judged_100"), of("noise_0"),
              of("flaws_10"), of(arm="mmssr-p10-base_tiny"), of(arm="mmssr-p10-base-2"), of("not_kept"),
              of("cross_entropy")]  # fmt: skip
    assert len({of(), *others}) == 1 + len(others)
    assert of("paper", "random-p10") == of(arm="random-p10")  # it needs no scorer
    assert of("noise_2", "full") == of("ours", "full")
    assert of("flaws_10", "full") != of("ours", "full")


def test_a_cell_depends_on_variants_whose_files_it_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    before = inputs_of(0, "small", "other_world", "scorer"), inputs_of(0, "small", "thirteen", "grown-p10")
    change_the_recipe(monkeypatch)
    after = inputs_of(0, "small", "other_world", "scorer"), inputs_of(0, "small", "thirteen", "grown-p10")
    assert before[0] != after[0]
    assert before[1] != after[1]


def test_a_variant_is_run_after_those_that_it_reads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[tuple[str, Path, list[str]]] = []
    monkeypatch.setattr(
        evidence_run, "run_config", lambda name, argument, workdir, flags=(): calls.append((argument, workdir, flags))
    )
    Replicate(0, "small", tmp_path, []).run("thirteen", ["grown-p10"])
    arguments = [call[0] for call in calls]
    assert arguments[-1] == "0@small/thirteen/grown-p10"
    assert {"0@small/ours/scorer", "0@small/one_added/scorer"} <= set(arguments[:-1])
    root, flags = calls[-1][1:]
    assert root == tmp_path / "0" / "thirteen"
    assert f"--config.select.selections.grown-p10.extra_scores={tmp_path / '0' / 'one_added' / 'scores'}" in flags
    assert f"--config.train_scorer.base={tmp_path / '0' / 'ours' / 'checkpoints' / 'scorer_warm_up'}" in flags
    calls.clear()
    Replicate(0, "small", tmp_path, []).run("thirteen", ["scorer"])
    assert not any("extra_scores" in flag for flag in calls[-1][2])  # there is no such selection
    calls.clear()
    Replicate(0, "small", tmp_path, []).run("ours", ["icons-p10"])
    assert [call[0] for call in calls] == ["0@small/ours/proxy,warm_up", "0@small/ours/icons-p10"]
    assert Workdir(tmp_path / "0" / "ours").root == calls[0][1]


def test_replicates_and_plans() -> None:
    assert replicates("0-2,7") == [0, 1, 2, 7]
    assert planned("main", ["mmssr-p10", "paper/scorer"]) == {"ours": ("mmssr-p10",), "paper": ("scorer",)}
    assert planned("rivals") == {"ours": evidence.FAMILIES["rivals"]["ours"]}
    with pytest.raises(ValueError, match="nothing: no cell of the family main"):
        planned("main", ["nothing"])


def test_the_main_comparison_is_155_trainings_in_five_replicates() -> None:
    arms = [evidence.Arm(*name.split("-")) for members in evidence.FAMILIES["main"].values() for name in members]
    assert 5 * sum(arm.trained for arm in arms) == 155
    assert evidence.PRIMARY["method"] in [f"ours/{name}" for name in evidence.FAMILIES["main"]["ours"]]
    assert config_hash("main", "") == config_hash("main", "")
    assert config_hash("main", "") != config_hash("main", "small")


@pytest.mark.parametrize("family", list(evidence.FAMILIES))
def test_every_arm_of_a_family_has_a_config(family: str) -> None:
    for variant, arms in evidence.FAMILIES[family].items():
        config = to_plain(evidence.get_config(f"2/{variant}/{','.join(arms)}"))
        trained = [name for name in arms if evidence.Arm(*name.split("-")).trained]
        assert sorted(config.get("train", {}).get("phases", {})) == sorted(trained)
        selections = config.get("select", {}).get("selections", {})
        assert {p["selection"] for p in config.get("train", {}).get("phases", {}).values() if "selection" in p} <= set(
            selections
        )
        assert all(s["like"] in selections for s in selections.values() if "like" in s)


def test_the_rivals_read_layers_that_their_model_has() -> None:
    config = evidence.get_config("0/ours/coincide-p10")
    model = json.loads((evidence_run.REPO / "mmssr_jax/assets" / config.base / "model.json").read_text())
    depth = model["decoder"]["depth"]
    assert config.score.features.layers == tuple(range(depth))
    parts = config.select.selections["coincide-p10"].parts
    assert parts[::2] == tuple(f"layer{k}_image" for k in config.score.features.layers)


def test_a_replicate_redraws_everything() -> None:
    first, second = (to_plain(evidence.get_config(f"{n}/ours/random-p10,mmssr-p10")) for n in (0, 1))

    def seeds(value: object) -> list[int]:
        if not isinstance(value, dict):
            return []
        own = [value["seed"]] if "seed" in value else []
        return own + [seed for entry in value.values() for seed in seeds(entry)]

    assert len(seeds(first)) == len(seeds(second)) == 11
    assert all(b - a == 1 for a, b in zip(seeds(first), seeds(second), strict=True))


@pytest.mark.parametrize("argument", ["0@huge", "0/nobody", "0/ours/nothing", "0/ours/mmssr-p99", "0/ours/nobody-p10"])
def test_what_does_not_exist_is_named(argument: str) -> None:
    with pytest.raises(ValueError, match=r"scales are|there is no arm"):
        evidence.get_config(argument)
