"""Our tiles against the reference processor's pixel values, on images of several modes."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mmssr_jax.images.anyres import AnyresSpec
from mmssr_jax.images.decode import open_rgb
from mmssr_jax.images.tiles import prompt_tiles
from mmssr_jax.models.vit import normalise

ATOL = 1e-5


def test_pixels_equal_the_pil_processors(image_call: tuple[Path, str]):
    folder, name = image_call
    calls = json.loads((folder / "calls.json").read_text())
    (call,) = (c for c in calls["calls"] if c["name"] == name)
    mean, std = calls["norms"][call["norm"]]
    size = calls["size"]
    spec = AnyresSpec(tile=size, grids=tuple((h // size, w // size) for h, w in calls["image_grid_pinpoints"]))
    images = [open_rgb((folder / f"image_{i}.png").read_bytes()) for i in call["images"]]
    prompts = [images] if call["nested"] else [[image] for image in images]
    with np.load(folder / f"{name}.npz") as data:
        expected = dict(data)
    tiles = [t for prompt in prompts for t in prompt_tiles(prompt, spec, mean=tuple(mean))[0]]
    assert [[i.height, i.width] for i in images] == expected["image_sizes"].tolist()
    assert [len(p) for p in prompts] == expected["batch_num_images"].tolist()
    assert max(map(len, tiles)) == expected["pixel_values"].shape[1]
    for found, reference in zip(tiles, expected["pixel_values"], strict=True):
        pixels = np.asarray(normalise(found, mean=mean, std=std)).transpose(0, 3, 1, 2)
        np.testing.assert_allclose(pixels, reference[: len(found)], atol=ATOL, rtol=0)
        assert not reference[len(found) :].any(), "the remaining tiles must be padding"


@pytest.mark.parametrize(
    ("height", "width"), [(1, 1), (1, 700), (57, 56), (300, 301), (640, 480), (97, 1001), (1200, 333), (784, 784)]
)
def test_any_size_against_the_installed_processor(height, width):
    from transformers import LlavaOnevisionImageProcessorPil

    spec = AnyresSpec(tile=98)
    pinpoints = [[r * 98, c * 98] for r, c in spec.grids]
    processor = LlavaOnevisionImageProcessorPil(
        size={"height": 98, "width": 98}, image_grid_pinpoints=pinpoints, image_mean=[0.5] * 3, image_std=[0.5] * 3
    )
    image = Image.fromarray(np.random.default_rng(height).integers(0, 256, (height, width, 3), np.uint8))
    expected = processor(image)["pixel_values"][0]
    ((found,), _) = prompt_tiles([image], spec)
    pixels = np.asarray(normalise(found, mean=(0.5,) * 3, std=(0.5,) * 3)).transpose(0, 3, 1, 2)
    np.testing.assert_allclose(pixels, expected, atol=ATOL, rtol=0)
