"""Coordinates as text, both directions, and on tiles."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmssr_jax.images import coordinates
from mmssr_jax.images.views import ViewConfig, place
from tests.images import tile_points


def test_a_box_is_written_on_the_scale_of_672():
    assert coordinates.write((100, 0, 1000, 500), height=672, width=1344) == "<50,0,500,250>"
    assert coordinates.write((1344, 672), height=672, width=1344) == "<672,336>"


def test_corners_are_ordered_and_kept_inside():
    assert coordinates.write((700, 90, -5, 20), height=100, width=672) == "<0,20,672,90>"


def test_three_numbers_are_neither():
    with pytest.raises(ValueError, match="not 3"):
        coordinates.write((1, 2, 3), height=10, width=10)


def test_regions_are_found_among_text():
    text = "the dog <0,336,672,504> and <12,24>, but <1,2,3> and < 4,5> and <6,-7> are none"
    found = coordinates.find(text, height=1008, width=1344)
    assert [r.numbers for r in found] == [(0, 672, 1344, 1008), (24, 48)]
    assert text[found[0].start : found[0].end] == "<0,336,672,504>"


@settings(deadline=None)
@given(st.integers(1, 3000), st.integers(1, 3000), st.floats(0, 1), st.floats(0, 1))
def test_text_keeps_a_point_to_half_a_unit(height, width, u, v):
    (region,) = coordinates.find(
        coordinates.write((u * width, v * height), height=height, width=width), height=height, width=width
    )
    unit = max(height, width) / 672
    assert abs(region.numbers[0] - u * width) <= 0.5 * unit + 1e-6
    assert abs(region.numbers[1] - v * height) <= 0.5 * unit + 1e-6


@settings(deadline=None)
@given(st.integers(1, 3000), st.integers(1, 3000), st.floats(0, 1), st.floats(0, 1))
def test_tiles_and_back(height, width, u, v):
    size = {"height": height, "width": width, "placement": place(height, width, ViewConfig("dynamic"), 672)}
    size["resolution"] = 672
    row, column, x, y = tile_points.to_tile(u * width, v * height, **size)
    assert 0 <= x <= 672
    assert 0 <= y <= 672
    assert 1 <= row <= size["placement"].grid[0]
    assert 1 <= column <= size["placement"].grid[1]
    back = tile_points.from_tile(row, column, x, y, **size)
    assert back == pytest.approx((u * width, v * height), abs=1e-6 * max(height, width))


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        ((0, 0, 2, 2), (1, 0, 3, 2), 1 / 3),
        ((0, 0, 1, 1), (2, 2, 3, 3), 0.0),
        ((0, 0, 0, 0), (0, 0, 0, 0), 0.0),
        ((0, 0, 4, 4), (0, 0, 4, 4), 1.0),
    ],
)
def test_iou(a, b, expected):
    assert coordinates.iou(a, b) == pytest.approx(expected)
