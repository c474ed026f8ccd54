"""Hashes of pictures."""

from __future__ import annotations

import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageDraw

from mmssr_jax.selection.screening.image_hash import distance, image_hash, near_rows


def scene(seed: int, size: int = 256) -> Image.Image:
    """Random ellipses."""
    rng = np.random.default_rng(seed)
    image = Image.new("RGB", (size, size), "white")
    draw = ImageDraw.Draw(image)
    for _ in range(12):
        x, y, r = rng.uniform(0, size, 3)
        colour = tuple(int(c) for c in rng.integers(0, 256, 3))
        draw.ellipse((x, y, x + r, y + r / 2), fill=colour)
    return image


def as_jpeg(image: Image.Image, quality: int) -> Image.Image:
    out = io.BytesIO()
    image.save(out, "JPEG", quality=quality)
    return Image.open(out)


def test_scaled_and_recompressed_pictures_are_near_and_others_are_not() -> None:
    hashes = [image_hash(scene(seed)) for seed in range(20)]
    for seed, own in enumerate(hashes):
        assert distance(own, image_hash(scene(seed).resize((128, 128)))) <= 4
        assert distance(own, image_hash(as_jpeg(scene(seed), 60))) <= 4
        assert all(distance(own, other) > 8 for i, other in enumerate(hashes) if i != seed)


@pytest.mark.parametrize("mode", ["L", "RGBA", "P", "1"])
def test_any_mode_and_size(mode: str) -> None:
    assert image_hash(Image.new(mode, (1, 7))).dtype == np.uint64


@given(st.integers(0, 15), st.integers(0, 1000))
def test_near_rows_are_those_of_all_pairs(bits: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    centres = rng.integers(0, 2**63, (3, 2), dtype=np.uint64)
    rows = centres[rng.integers(0, 3, 25)]
    for _ in range(8):
        rows = rows ^ (rng.integers(0, 2, rows.shape).astype(np.uint64) << rng.integers(0, 64, rows.shape, np.uint64))
    left, right = rows[:12], rows[12:]
    a, b = near_rows(left, right, bits)
    expected = {(i, j) for i in range(12) for j in range(13) if distance(left[i], right[j]) <= bits}
    assert set(zip(a.tolist(), b.tolist(), strict=True)) == expected
    none = near_rows(left[:0], right, bits)
    assert len(none[0]) == 0
