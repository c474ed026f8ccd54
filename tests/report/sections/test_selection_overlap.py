import dataclasses

from mmssr_jax.core import files
from mmssr_jax.core.workdir import Workdir
from mmssr_jax.report.blocks import Heat
from mmssr_jax.report.sections.selection import selection_section
from mmssr_jax.report.sections.selection_overlap import overlap_blocks

from .find import table, titled


def test_what_every_selection_shares_with_every_other(inputs, config):
    heat = titled(selection_section(inputs, config), Heat, "Overlap")
    assert heat.columns == ["mmssr", "random-0"]
    assert [(name, [cell.shown for cell in cells]) for name, cells in heat.rows] == [
        ("mmssr", ["1.00", "0.20"]),  # s00 of s00, s21, s22 and s00, s05, s09
        ("random-0", ["0.20", "1.00"]),
    ]


def test_one_selection_has_no_overlap(inputs):
    alone = {"mmssr": inputs.selections["mmssr"]}
    assert overlap_blocks(dataclasses.replace(inputs, selections=alone)) == []


def test_the_distance_from_the_pool_appears_once_it_is_known(inputs, tmp_path, config):
    inputs = dataclasses.replace(inputs, workdir=Workdir(tmp_path))
    row = {"method": "random", "target_data": False, "samples": 1200, "total_variation": 0.25, "mean_tokens": None}
    result = {
        "selections": {
            "a": row,
            "b": {**row, "mean_tokens": 40.4, "target_data": True, "features": {"embedding": "warm-up"}},
        },
        "names": ["a", "b"],
    }
    files.write_json(inputs.workdir.results("selections"), {**result, "jaccard": [[1.0, 0.125], [0.125, 1.0]]})
    assert table(selection_section(inputs, config), "Distance from the pool").rows == [
        ("a", "random", "no", "", "1,200", "25.0 %", "–"),
        ("b", "random", "yes", "warm-up", "1,200", "25.0 %", "40"),
    ]
