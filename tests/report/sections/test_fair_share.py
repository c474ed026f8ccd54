import dataclasses

import pytest

from mmssr_jax.core import files
from mmssr_jax.core.workdir import Workdir
from mmssr_jax.report.blocks import Bars, Heat
from mmssr_jax.report.inputs import read_inputs
from mmssr_jax.report.sections.fair_share import fair_share_blocks

from .. import fake


@pytest.fixture
def workdir(tmp_path):
    workdir = Workdir(tmp_path)
    fake.add_scores(workdir)
    fake.add_selections(workdir)
    return workdir


def test_picks_stand_beside_the_fair_share(workdir):
    (bars,) = fair_share_blocks(read_inputs(workdir, "x"))
    assert isinstance(bars, Bars)
    assert [(b.label, b.shown) for b in bars.rows] == [
        ("scene understanding", "1 of 1.0"), ("fine-grained recognition", "2 of 1.0"), ("rhyme", "0 of 1.0"),
    ]  # fmt: skip
    assert [b.lengths for b in bars.rows] == [[0.5, 0.5], [1.0, 0.5], [0.0, 0.5]]


def test_weights_share_the_picks(workdir):
    settings = {"method": "mmssr", "weights": {"rhyme": 0, "scene_understanding": 2}}
    files.write_json(workdir.selection("mmssr") / "manifest.json", {"config": {"selection": settings}})
    (bars,) = fair_share_blocks(read_inputs(workdir, "x"))
    assert [(b.label, b.shown) for b in bars.rows] == [
        ("scene understanding", "1 of 2.0"), ("fine-grained recognition", "2 of 1.0"),
    ]  # fmt: skip


def test_several_selections_are_a_matrix(workdir):
    inputs = read_inputs(workdir, "x")
    twice = {**inputs.selections, "other": inputs.selections["mmssr"].slice(0, 1)}
    (heat,) = fair_share_blocks(dataclasses.replace(inputs, selections=twice))
    assert isinstance(heat, Heat)
    assert heat.columns == ["mmssr", "other"]
    shown = {name: [(c.shown, c.level) for c in cells] for name, cells in heat.rows}
    assert shown["fine-grained recognition"] == [("200 %", 1.0), ("0 %", 0.0)]
    assert shown["scene understanding"] == [("100 %", 0.5), ("300 %", 1.0)]


def test_random_selections_have_none(workdir):
    inputs = read_inputs(workdir, "x")
    only = {"random-0": inputs.selections["random-0"]}
    assert fair_share_blocks(dataclasses.replace(inputs, selections=only)) == []
