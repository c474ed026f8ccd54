from xml.etree import ElementTree

import numpy as np
import pytest

from mmssr_jax.report import svg_charts


def elements(svg, tag):
    return [e for e in ElementTree.fromstring(str(svg)).iter() if e.tag == tag]


def test_histogram_heights_are_in_proportion():
    svg = svg_charts.histogram([4, 0, 1], [0, 1, 2, 3], label="x", mark=1.5)
    heights = [float(e.get("height")) for e in elements(svg, "rect")]
    assert heights == [60, 15]
    assert [e.text for e in elements(svg, "text")] == ["0", "1", "2", "3"]
    assert len([e for e in elements(svg, "line") if e.get("class") == "mark"]) == 1


def test_labels_are_escaped():
    svg = svg_charts.histogram([1], [0, 1], label='"><script>')
    assert "<script>" not in svg
    assert ElementTree.fromstring(str(svg)).get("aria-label") == '"><script>'


def test_lines_keep_the_order_of_values_and_leave_out_what_is_not_finite():
    x = np.arange(4.0)
    svg = svg_charts.lines([(x, np.array([3.0, 1.0, np.nan, 2.0])), (np.zeros(0), np.zeros(0))], label="x")
    (curve,) = elements(svg, "polyline")
    points = [tuple(map(float, p.split(","))) for p in curve.get("points").split()]
    assert len(points) == 3
    heights = [y for _, y in points]
    assert heights[0] < heights[2] < heights[1]  # y grows downwards
    assert [a for a, _ in points] == sorted(a for a, _ in points)


def test_one_point_is_a_dot_and_none_is_an_empty_chart():
    assert len(elements(svg_charts.lines([(np.array([1.0]), np.array([2.0]))], label="x"), "circle")) == 1
    assert elements(svg_charts.lines([(np.zeros(0), np.zeros(0))], label="x"), "polyline") == []


def test_logarithmic_axis_spaces_decades_evenly():
    x, y = np.arange(3.0), np.array([1.0, 10.0, 100.0])
    (curve,) = elements(svg_charts.lines([(x, y)], label="x", log=True), "polyline")
    h = [float(p.split(",")[1]) for p in curve.get("points").split()]
    assert h[0] - h[1] == pytest.approx(h[1] - h[2], abs=0.2)


def test_many_points_behind_a_curve_are_a_faint_curve_and_few_are_dots():
    x = np.arange(50.0)
    svg = svg_charts.lines([(x, x)], raw=[(x, x)], label="x")
    assert [e.get("class") for e in elements(svg, "polyline")] == ["l0 raw", "l0"]
    svg = svg_charts.lines([(x[:5], x[:5])], raw=[(x[:5], x[:5])], label="x")
    assert len(elements(svg, "circle")) == 5


def test_charts_that_cover_the_same_values_have_the_same_scale():
    x = np.arange(2.0)
    curves = [np.array([1.0, 2.0]), np.array([5.0, 9.0])]
    ticks = [
        [e.text for e in elements(svg_charts.lines([(x, y)], label="x", cover=(1.0, 9.0)), "text")] for y in curves
    ]
    assert ticks[0] == ticks[1]


def test_an_axis_begins_at_zero_unless_differences_are_the_point():
    curve = (np.arange(2.0), np.array([40.0, 42.0]))
    ticks = [
        [e.text for e in elements(svg_charts.lines([curve], label="x", zero=zero), "text") if e.get("class") == "end"]
        for zero in (True, False)
    ]
    assert (ticks[0][0], ticks[1][0], ticks[1][-1]) == ("0", "40", "42")


def test_a_moving_average_is_unbiased_at_its_start_and_keeps_a_constant():
    assert svg_charts.smoothed(np.array([3.0, 3.0, 3.0]), 5).tolist() == pytest.approx([3, 3, 3])
    assert svg_charts.smoothed(np.array([4.0, 1.0]), 3).tolist() == pytest.approx([4, 2])  # alpha 1/2: (4/2 + 1) / 1.5
    assert svg_charts.smoothed(np.array([4.0, 1.0]), 1).tolist() == [4, 1]


def test_a_radar_has_a_corner_an_axis():
    svg = svg_charts.radar([np.array([100.0, 0.0, 50.0, 100.0])], ["a", "b", "c", "<d>"], label="x")
    (polygon,) = [e for e in elements(svg, "polygon") if e.get("class") == "l0"]
    assert polygon.get("points").split() == ["280.0,60.0", "280.0,200.0", "280.0,270.0", "140.0,200.0"]
    assert {"a", "b", "c", "<d>"} <= {e.text for e in elements(svg, "text")}


def test_thinning_keeps_means():
    steps, values = svg_charts.downsampled(np.arange(10.0), np.arange(10.0) * 2, 5)
    assert steps.tolist() == [0.5, 2.5, 4.5, 6.5, 8.5]
    assert values.tolist() == [1, 5, 9, 13, 17]
    assert svg_charts.downsampled(np.arange(3.0), np.arange(3.0), 5)[0].tolist() == [0, 1, 2]


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [(0, 4, [0, 1, 2, 3, 4]), (0.0, 0.03, [0, 0.01, 0.02, 0.03]), (35, 53, [35, 40, 45, 50, 55]), (2, 2, None)],
)
def test_ticks_are_round_and_cover_the_range(low, high, expected):
    ticks = svg_charts.nice_ticks(low, high)
    assert ticks[0] <= low
    assert ticks[-1] >= high
    if expected is not None:
        assert ticks == expected
