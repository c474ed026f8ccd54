"""Cells that are read and written, and the statistics over them, on small literal tables."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mmssr_jax.core.errors import UserError
from mmssr_jax.evaluation.evidence_cells import ArmResult, ReplicateResults, read_cells, read_results, write_results
from mmssr_jax.evaluation.evidence_table import common, costs, difference, rows, skills, split

RANDOM, METHOD, MATCHED, FULL = "ours/random-p10", "ours/mmssr-p10", "ours/matched-p10", "ours/full"
VALUES = {
    RANDOM: (40.0, 42.0, 44.0),
    MATCHED: (41.0, 44.0, 44.0),
    METHOD: (44.0, 45.0, 49.0),
    FULL: (50.0, 60.0, 55.0),
}
BASELINES = dict.fromkeys(VALUES, RANDOM)


def cell(value: float, **more: object) -> ArmResult:
    """A cell with two skills, three points above and below its value."""
    return ArmResult("f", ("select",), value, {"a": value - 3, "b": value + 3}, "d", **more)  # type: ignore[arg-type]


def results() -> list[ReplicateResults]:
    times = {"judge": 1.0, "train_scorer": 50.0, "score": 30.0, "select": 3.0}
    return [
        ReplicateResults(
            n, {"main": "h"},
            {name: cell(values[n], seconds=400.0 if name == FULL else 40.0, flawed=0.1 * n)
             for name, values in VALUES.items()},
            {}, {"ours": times},
        )
        for n in range(3)
    ]  # fmt: skip


def test_differences_are_paired_inside_replicates():
    gap = difference(results(), METHOD, RANDOM)  # 4, 3, 5
    assert gap is not None
    assert (gap.mean, gap.replicates) == (4.0, 3)
    assert gap.low == pytest.approx(4 - 4.30265 / 3**0.5, abs=1e-4)  # t(2) = 4.30265, deviation 1
    assert difference(results(), METHOD, "ours/none") is None


def test_only_common_replicates_count():
    partly = results()
    partly[1] = ReplicateResults(1, {}, {RANDOM: cell(42.0)}, {}, {})
    gap = difference(partly, METHOD, RANDOM)
    assert gap is not None
    assert (gap.mean, gap.replicates) == (4.5, 2)
    assert [r.replicate for r in common(partly, [METHOD, RANDOM])] == [0, 2]


def test_the_split_adds_up():
    parts = split(results(), METHOD, MATCHED, RANDOM)
    assert parts is not None
    assert (parts["gain"].mean, parts["mixture"].mean, parts["scores"].mean) == (4.0, 1.0, 3.0)
    assert split(results(), METHOD, MATCHED, "ours/none") is None


def test_the_primary_endpoint_is_outside_of_holms_family():
    made = {
        row.name: row
        for row in rows(results(), [*VALUES, "ours/none"], baseline=BASELINES | {"ours/none": RANDOM}, full=FULL,
                        primary=METHOD)
    }  # fmt: skip
    assert list(made) == list(VALUES)
    assert made[METHOD].p_holm is None
    assert made[RANDOM].difference is None
    matched, full = made[MATCHED], made[FULL]
    assert matched.difference is not None
    assert full.difference is not None
    smaller, larger = sorted((matched.difference.p, full.difference.p))
    assert sorted((matched.p_holm, full.p_holm)) == [2 * smaller, max(larger, 2 * smaller)]  # a family of two


def test_shares_of_full_and_skills_above_random():
    made = {row.name: row for row in rows(results(), list(VALUES), baseline=BASELINES, full=FULL, primary=METHOD)}
    over = made[METHOD].over_full
    assert over is not None
    assert over.mean == pytest.approx((88 + 75 + 49 / 0.55) / 3)
    assert made[METHOD].above == 2
    assert made[RANDOM].above is None
    assert made[METHOD].flawed == pytest.approx(0.1)
    assert skills(results(), METHOD) == {"a": 43.0, "b": 49.0}


def test_what_selecting_costs_and_when_it_pays():
    found = costs(results(), [METHOD], full=FULL)
    assert found is not None
    entry = found["groups"][METHOD]
    assert entry["selection_seconds"] == 3.0  # the cell needs only the stage select
    assert entry["saved_seconds"] == 360.0
    assert entry["share_of_full"] == pytest.approx(43 / 400)
    assert entry["break_even_runs"] == pytest.approx(3 / 360)
    assert costs(results(), ["ours/none"], full=FULL) is None


def test_results_of_all_families_are_read_together(tmp_path: Path):
    content = {"replicate": 4, "config": "h", "libraries": {}, "scorers": {"ours": {"inputs": "s"}}, "stages": {}}
    write_results(tmp_path / "main" / "4.json", content, {METHOD: cell(44.0, rows=10, sources={"x": 10})})
    write_results(tmp_path / "rivals" / "4.json", content | {"config": "g", "scorers": {}}, {"ours/icons": cell(1.5)})
    (found,) = read_results(tmp_path)
    assert found.replicate == 4
    assert found.configs == {"main": "h", "rivals": "g"}
    assert found.cells[METHOD] == ArmResult(**(json.loads((tmp_path / "main" / "4.json").read_text())["cells"][METHOD]))
    assert found.cells["ours/icons"].value == 1.5
    assert found.scorers == {"ours": {"inputs": "s"}}
    assert read_cells(tmp_path / "none.json") == ({}, {})


def test_a_damaged_file_is_one_line(tmp_path: Path):
    (tmp_path / "main").mkdir()
    (tmp_path / "main" / "0.json").write_text('{"replicate": 0}')
    with pytest.raises(UserError, match=r"0\.json: damaged"):
        read_results(tmp_path)
