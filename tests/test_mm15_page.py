"""docs/mm15.md: every number is rebuilt from the committed results; the tables on literal results."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks import mm15_run
from configs import mm15_tiny
from docs import make_mm15, mm15_text
from mmssr_jax.core.vocabulary import SLUGS
from mmssr_jax.evaluation.replicates import Interval, t_interval


def test_the_page_is_that_of_the_committed_results():
    assert make_mm15.PAGE.read_text(encoding="utf-8") == make_mm15.generate(), "run: python docs/make_mm15.py"


def test_the_readme_has_the_table_of_skills():
    readme = (make_mm15.DOCS.parent / "README.md").read_text(encoding="utf-8")
    results = make_mm15.read_family(make_mm15.RESULTS, "skills")
    if not results:
        pytest.skip("the skills were not run yet")
    assert make_mm15.skill_table(results) in readme, "copy the table of docs/mm15.md"


def test_tables_of_literal_results(tmp_path: Path):
    """One skill in three seeds beside its floors; one change in three seeds beside the paper's."""
    for seed, (own, blind, other) in enumerate([(50.0, 20.0, 46.0), (60.0, 30.0, 58.0), (70.0, 10.0, 67.0)]):
        values = dict.fromkeys([*mm15_text.SKILLS, *mm15_run.AVERAGES, *mm15_run.CATEGORIES], own)
        floors = {name: {"blind": blind, "constant": 25.0, "reader": 59.0} for name in mm15_text.SKILLS}
        changed = dict.fromkeys(values, other)
        arms = {"recipe": values} | dict.fromkeys(mm15_text.ABLATIONS, changed)
        for family in ("skills", "ablations"):
            path = tmp_path / family / f"{seed}.json"
            path.parent.mkdir(exist_ok=True)
            path.write_text(
                json.dumps({"seed": seed, "scale": "reduced", "config": "c", "arms": arms, "floors": floors})
            )
    page = make_mm15.generate(tmp_path)
    steps = mm15_tiny.STEPS["reduced"]
    lengths = (
        f"{steps['language']} steps on text, {steps['pretrain']} of pre-training, {steps['boxes']} on single boxes"
    )
    assert f"Seeds 0, 1, 2; {lengths}, {steps['sft']} of SFT (reduced)." in page
    # Gains 50 - 25, 60 - 30, 70 - 25: mean 33.33, t interval with 2 degrees of freedom 4.303 * 10.41 / sqrt(3).
    assert "| grounding | recall, IoU 0.5 | 60.0 | – | 25.0 | 20.0 | +33.3 (7.5 to 59.2) | 59.0 |" in page
    # Differences -4, -2, -3: mean -3, 4.303 * 1 / sqrt(3) = 2.48.
    row = "| alpha of refer and ground 0.4 instead of 2 | {} | −3.0 (−5.5 to −0.5) | {} | figure 6 | {} |"
    assert row.format("refer ground", "−6.5", "agrees") in page
    assert row.format("mmbase", "+1.6", "disagrees") in page
    assert "Not run yet: `python benchmarks/mm15.py --workdir=runs/mm15 --seeds=0 --family=variants`" in page


def test_results_of_different_scales_are_no_table(tmp_path: Path):
    for seed, scale in enumerate(("full", "least")):
        (tmp_path / "skills").mkdir(exist_ok=True)
        (tmp_path / "skills" / f"{seed}.json").write_text(json.dumps({"seed": seed, "scale": scale}))
    with pytest.raises(ValueError, match="results of different scales"):
        make_mm15.read_family(tmp_path, "skills")


@pytest.mark.parametrize(
    ("values", "direction", "expected"),
    [
        ((1.0, 2.0, 3.0), 1.0, "cannot tell"),
        ((2.0, 2.1, 2.2), 1.0, "agrees"),
        ((2.0, 2.1, 2.2), -1.0, "disagrees"),
        ((-2.0, -2.1, -2.2), -1.0, "agrees"),
    ],
)
def test_a_verdict_needs_an_interval_beside_zero(values, direction, expected):
    assert make_mm15.verdict(t_interval(values), direction) == expected


def test_one_seed_tells_nothing():
    nan = float("nan")
    assert make_mm15.verdict(Interval(5.0, nan, nan, nan, 1), 5.0) == "cannot tell"
    assert make_mm15.points(Interval(5.0, nan, nan, nan, 1)) == "+5.0"


def test_measures_of_a_result():
    skills = {slug: {"value": float(k), "n": 30} for k, slug in enumerate(SLUGS)}
    names = {"grounding": 10, "referring": 20, "screens": 30, "taps": 5, "multi_image": 40, "few_shot": 50, "video": 60}
    entries = {name: {"value": float(value)} for name, value in names.items()}
    entries["one_image"] = {"value": 6.5, "categories": skills}
    found = mm15_run.measures({"benchmarks": entries})
    assert found["text_rich"] == 12.5  # data understanding 12, reading 13
    assert found["knowledge"] == pytest.approx((11 + 9 + 10 + 2) / 4)  # STEM, causes, humanities, logic
    assert found["general"] == pytest.approx((0 + 1 + 3 + 4 + 5 + 6 + 7 + 8) / 8)
    assert found["refer_ground"] == 20.0
    assert found["several_pictures"] == 50.0
    assert found["mmbase"] == pytest.approx((12.5 + 8.0 + 4.25) / 3, abs=1e-4)
    assert found["average"] == pytest.approx((12.5 + 8.0 + 4.25 + 20 + 50) / 5, abs=1e-4)


def test_every_capability_has_one_category():
    assert sorted(slug for slugs in mm15_run.CATEGORIES.values() for slug in slugs) == sorted(SLUGS)


def test_every_change_of_the_page_is_an_arm_of_the_family():
    assert {arm for arm, _ in mm15_text.PAPER} == set(mm15_text.ABLATIONS) == set(mm15_run.FAMILIES["ablations"][1][1:])
    assert set(mm15_text.VARIANTS) >= {*mm15_run.FAMILIES["variants"][1], *mm15_run.FAMILIES["scratch"][1]}
    assert set(mm15_text.SKILLS) == {*mm15_tiny.TASKS, "one_image"}
