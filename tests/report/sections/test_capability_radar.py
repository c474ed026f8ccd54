import pytest

from mmssr_jax.report.blocks import Charts
from mmssr_jax.report.sections.capability_radar import radar_blocks


def result(*values):
    names = ["reading", "counting", "data_understanding"]
    categories = {name: {"value": v, "n": 20 + i} for i, (name, v) in enumerate(zip(names, values, strict=False))}
    return {"quiz": {"percent": 50.0, "categories": categories}}


def test_a_polygon_a_group_and_the_mean_over_its_runs():
    runs = {"a0": result(10, 20, 30), "a1": result(30, 40, 50), "base": result(0, 0, 100)}
    (charts,) = radar_blocks(runs, {"a": ["a0", "a1"], "start": ["base"], "elsewhere": ["gone"], "none": []})
    assert isinstance(charts, Charts)
    assert charts.series == ["a", "start"]
    (chart,) = charts.charts
    assert (chart.title, chart.note) == ("quiz", "20 to 22 questions an axis")
    assert chart.svg.count('class="l0"') == chart.svg.count('class="l1"') == 1
    first = chart.svg.split('class="l0" points="')[1].split(" ")[0]
    assert first == pytest.approx("280.0,172.0")  # 20 of 100 of a radius of 140, above the centre at 280, 200
    assert "data" in chart.svg
    assert "understanding" in chart.svg


def test_fewer_than_three_axes_are_no_radar():
    assert radar_blocks({"a": result(10, 20)}, {"a": ["a"]}) == []
    assert radar_blocks({}, {"a": ["a"]}) == []


def test_three_benchmarks_are_one():
    runs = {"a": {name: {"percent": 10.0 * i} for i, name in enumerate(("x", "y", "z"))}}
    (charts,) = radar_blocks(runs, {"a": ["a"]})
    assert [c.title for c in charts.charts] == ["All benchmarks"]
