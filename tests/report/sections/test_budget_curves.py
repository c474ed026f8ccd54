import pyarrow as pa
import pytest

from mmssr_jax.core import files
from mmssr_jax.core.workdir import Workdir
from mmssr_jax.report.blocks import Charts
from mmssr_jax.report.inputs import read_inputs
from mmssr_jax.report.sections.budget_curves import budget_blocks


def select(workdir, name, samples, **settings):
    picks = pa.table({"id": [str(i) for i in range(samples)], "capability": pa.nulls(samples, pa.string())})
    files.write_parquet(workdir.selection(name) / "selection.parquet", picks)
    files.write_json(workdir.selection(name) / "manifest.json", {"config": {"selection": settings}})


def group(runs, *values):
    entry = {"values": list(values)}
    return {"runs": runs, "benchmarks": {"quiz": entry}, "averages": {"all": entry}}


@pytest.fixture
def inputs(tmp_path):
    workdir = Workdir(tmp_path)
    select(workdir, "m-5", 5, method="mmssr", seed=0, budget={"ratio": 0.5})
    select(workdir, "m-10", 10, method="mmssr", seed=0, budget={"ratio": 1.0})
    select(workdir, "r0", 5, method="random", seed=0)
    select(workdir, "r1", 5, method="random", seed=1)
    phases = {"m5": "m-5", "m10": "m-10", "r0": "r0", "r1": "r1", "pretrained": None}
    files.write_json(workdir.config, {"train": {"phases": {run: {"selection": s} for run, s in phases.items()}}})
    return read_inputs(workdir, "x")


def test_a_curve_a_way_to_select(inputs):
    groups = {
        "mmssr-5": group(["m5"], 40.0), "mmssr-10": group(["m10"], 60.0), "random": group(["r0", "r1"], 20.0, 30.0),
        "no selection": group(["pretrained"], 1.0),
    }  # fmt: skip
    (charts,) = budget_blocks(inputs, groups)
    assert isinstance(charts, Charts)
    assert charts.series == ["mmssr", "random"]
    (chart,) = charts.charts
    assert chart.title == "quiz"
    assert chart.svg.count('polyline class="l0"') == 1
    assert chart.svg.count('circle class="s0"') == 2
    assert chart.svg.count('circle class="s1"') == 3  # two runs and their mean


def test_one_budget_is_no_curve(inputs):
    assert budget_blocks(inputs, {"mmssr": group(["m5"], 40.0), "random": group(["r0", "r1"], 20.0, 30.0)}) == []
