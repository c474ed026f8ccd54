"""MM1.5's grids, views and indicators."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmssr_jax.images.views import View, ViewConfig, choose_grid, fit_size, grids, place, views
from tests.small import token_count

SIDE, TOKENS = 672, 144
DYNAMIC = ViewConfig(mode="dynamic")


def test_the_papers_candidates():
    """(4, 9) has 18: 1x4..1x9, 4x1..9x1, 2x2, 2x3, 3x2, 2x4, 4x2, 3x3."""
    expected = {(1, n) for n in range(4, 10)} | {(n, 1) for n in range(4, 10)}
    expected |= {(2, 2), (2, 3), (3, 2), (2, 4), (4, 2), (3, 3)}
    assert set(grids(4, 9)) == expected
    assert len(grids(4, 9)) == 18


@pytest.mark.parametrize(
    ("height", "width", "grid"),
    [
        (672, 672, (2, 2)),  # 2x2 and 3x3 both have no padding: fewer tiles
        (1400, 1400, (3, 3)),  # 2x2 would shrink it
        (300, 1200, (1, 4)),
        (1344, 2016, (2, 3)),
        (5000, 5000, (3, 3)),  # nothing covers: what keeps most
        (6000, 500, (9, 1)),
        (1, 1, (2, 2)),
    ],
)
def test_grid(height, width, grid):
    assert choose_grid(height, width, DYNAMIC, SIDE) == grid


def test_views_of_two_images():
    config = ViewConfig(mode="static", newline=False)
    tiles = [(1, 1), (1, 2), (2, 1), (2, 2), (0, 0)]
    assert views([(10, 10), (20, 30)], config, SIDE) == [[View(k, r, c) for r, c in tiles] for k in (0, 1)]
    assert token_count([(10, 10), (20, 30)], config, SIDE, TOKENS) == 1440


def test_three_images_are_not_split():
    assert views([(10, 10)] * 3, DYNAMIC, SIDE) == [[View(0)], [View(1)], [View(2)]]
    assert token_count([(10, 10)] * 3, DYNAMIC, SIDE, TOKENS) == 3 * 145
    assert token_count([(10, 10)] * 3, ViewConfig("dynamic", newline=False), SIDE, TOKENS) == 3 * 144


def test_single_views_are_the_default():
    assert views([(10, 10), (3000, 50)], ViewConfig(), SIDE) == [[View(0)], [View(1)]]


def test_indicators():
    def shown(**settings):
        (pieces,) = views([(300, 600)], ViewConfig(mode="dynamic", tiles=(2, 2), **settings), SIDE)
        return " ".join(p if isinstance(p, str) else f"[{p.row}{p.column}]" for p in pieces)

    assert shown(indicator="none", overview="after") == "[11] [12] [00]"
    assert shown(indicator="index", overview="before") == "(0, 0, 0) [00] (0, 1, 1) [11] (0, 1, 2) [12]"
    assert shown(indicator="seps", overview="after") == "[11] , [12] : [00]"
    (rows,) = views([(600, 300)], ViewConfig("dynamic", tiles=(2, 2), indicator="seps"), SIDE)
    assert rows[:3] == [View(0, 1, 1), "<n>", View(0, 2, 1)]


def test_one_tile_needs_no_overview():
    assert views([(100, 100)], ViewConfig("dynamic", tiles=(1, 1)), SIDE) == [[View(0, 1, 1)]]


@settings(deadline=None)
@given(st.integers(1, 4000), st.integers(1, 4000))
def test_the_image_lies_inside_its_grid_and_fills_one_side(height, width):
    placement = place(height, width, DYNAMIC, SIDE)
    tall, wide = (n * SIDE for n in placement.grid)
    assert 0 < placement.height <= tall
    assert 0 < placement.width <= wide
    assert placement.height == tall or placement.width == wide
    assert (placement.height, placement.width) == fit_size(height, width, placement.grid, SIDE)
    assert 5 <= len(views([(height, width)], DYNAMIC, SIDE)[0]) <= 10


@pytest.mark.parametrize("wrong", [{"tiles": (0, 4)}, {"tiles": (5, 4)}, {"whole_from": 0}])
def test_impossible_settings_are_refused(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        ViewConfig("dynamic", **wrong)
