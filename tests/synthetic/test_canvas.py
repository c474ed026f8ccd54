"""Big, reproducible drawing."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from mmssr_jax.synthetic.canvas import COLOURS, SHAPES, SIZE, TEXT, WHITE, Canvas, encode, font, side_by_side


def _canvas() -> Canvas:
    return Canvas(np.random.default_rng(0), WHITE)


def test_capitals_are_at_least_28_pixels_high() -> None:
    _, top, _, bottom = font(TEXT).getbbox("H")
    assert bottom - top >= 28


def test_long_words_stay_inside_the_image() -> None:
    canvas = _canvas()
    canvas.text((128, 128), "A WORD THAT IS FAR TOO LONG")
    ink = np.asarray(canvas.image).min(axis=2) < 128
    assert ink.any()
    assert not ink[:, 0].any()
    assert not ink[:, -1].any()


@pytest.mark.parametrize("name", SHAPES)
def test_shapes_have_their_colour_and_place(name: str) -> None:
    canvas = _canvas()
    canvas.shape(name, (64, 192), 40, COLOURS["red"])
    rows, columns = np.nonzero((np.asarray(canvas.image) == COLOURS["red"]).all(axis=2))
    assert len(rows) > 800
    assert rows.mean() == pytest.approx(192, abs=12)
    assert columns.mean() == pytest.approx(64, abs=12)


def test_an_unknown_shape_is_an_error() -> None:
    with pytest.raises(ValueError, match="blob"):
        _canvas().shape("blob", (10, 10), 5, WHITE)


def test_panels_keep_their_order() -> None:
    panels = [Image.new("RGB", (SIZE, SIZE), COLOURS[c]) for c in ("red", "blue", "green")]
    sheet = side_by_side(panels)
    assert sheet.size == (SIZE, SIZE)
    assert [sheet.getpixel(p) for p in ((64, 64), (192, 64), (64, 192))] == [
        COLOURS["red"], COLOURS["blue"], COLOURS["green"],
    ]  # fmt: skip


def test_encoding_is_lossless_and_repeatable() -> None:
    canvas = _canvas()
    canvas.shape("star", (100, 100), 50, COLOURS["blue"])
    data = encode(canvas.image)
    assert data == encode(canvas.image.copy())
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(data))), np.asarray(canvas.image))
