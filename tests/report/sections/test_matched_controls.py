"""The table of matched controls."""

from __future__ import annotations

from mmssr_jax.core import files
from mmssr_jax.report.inputs import read_inputs
from mmssr_jax.report.sections.matched_controls import matched_blocks
from mmssr_jax.report.sections.selection import selection_section

from .. import fake
from .find import table


def test_overlap_and_the_share_of_cells_taken_whole(tmp_path, config):
    workdir = fake.build(tmp_path / "run")
    method = {"jaccard": 0.2, "exhausted_share": 1 / 3, "contested_jaccard": 0.1}
    files.write_json(
        workdir.selection("random-0") / "manifest.json",
        {"config": {"selection": {"method": "matched", "like": "mmssr"}}, "counts": {"method": method}},
    )
    inputs = read_inputs(workdir, "x")
    found = table(selection_section(inputs, config), "Matched controls")
    assert found.rows == [("random-0", "mmssr", "3", "0.20", "33.3 %", "0.10")]
    assert "what it gains by predicting them counts as mixture" in found.note


def test_without_controls_there_is_no_table(inputs):
    assert matched_blocks(inputs) == []
