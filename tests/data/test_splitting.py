"""Tiles put together again are the picture; the overview is the whole of it."""

from __future__ import annotations

import numpy as np
from PIL import Image

from mmssr_jax.core.splitting import SplitSpec
from mmssr_jax.data.splitting import split_pixels


def noise(height: int, width: int) -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8))


def test_tiles_of_a_picture_that_fits_exactly():
    image = noise(16, 24)
    spec = SplitSpec(resolution=8, tiles=(6, 6))
    found = split_pixels([image], spec)
    assert found.shape == (7, 8, 8, 3)
    rows = [np.concatenate(list(found[r * 3 : r * 3 + 3]), axis=1) for r in range(2)]
    np.testing.assert_array_equal(np.concatenate(rows), np.asarray(image))
    np.testing.assert_array_equal(found[6], np.asarray(image.resize((8, 8), Image.Resampling.BICUBIC)))


def test_padding_is_black_and_even():
    found = split_pixels([Image.new("RGB", (16, 8), (9, 9, 9))], SplitSpec(mode="static", resolution=8))
    canvas = np.concatenate([np.concatenate(list(found[:2]), axis=1), np.concatenate(list(found[2:4]), axis=1)])
    assert (canvas[4:12] == 9).all()
    assert not canvas[:4].any()
    assert not canvas[12:].any()


def test_many_pictures_are_one_view_each():
    images = [noise(5, 9), noise(8, 8), noise(30, 3)]
    found = split_pixels(images, SplitSpec(resolution=8))
    assert found.shape == (3, 8, 8, 3)
    np.testing.assert_array_equal(found[1], np.asarray(images[1]))
