"""From a sample's images to the square views that a model receives; `images.views` says which views those are."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator, Sequence

import numpy as np
from PIL import Image

from mmssr_jax.core.sample import IMAGE_TAG, Sample, Turn
from mmssr_jax.images.resize import centre_view, letterbox, padded_view, sample_images, square_view
from mmssr_jax.images.tiles import TiledRef, prompt_tiles
from mmssr_jax.images.views import AnyresViewConfig, View, ViewConfig, place, views


def preprocess(sample: Sample, config: ViewConfig, resolution: int, *, max_pixels: int) -> tuple[Sample, np.ndarray]:
    """The views of a sample, and the sample with a tag for each of them.

    Args:
      sample: with as many images as tags.
      config: which views; see `VLMConfig.view_config`.
      resolution: S, side of a view in pixels.
      max_pixels: larger images are an error.

    Returns:
      the sample with one `<image>` tag a view and the indicators around them, and the views, uint8 [V, S, S, 3]. With
      single views the sample is unchanged; in mode "anyres" a tiled image is a `TiledRef`, with one tag for all tiles.

    Raises:
      OSError, ValueError: an image cannot be read (see `open_rgb`).
    """
    images = sample_images(sample, max_pixels=max_pixels)
    if isinstance(config, AnyresViewConfig):
        return _tiled(sample, images, config)
    prompt_views = views([(i.height, i.width) for i in images], config, resolution)
    return with_views(sample, prompt_views), view_pixels(images, prompt_views, config, resolution)


def _tiled(sample: Sample, images: Sequence[Image.Image], config: AnyresViewConfig) -> tuple[Sample, np.ndarray]:
    tiles, layouts = prompt_tiles(images, config.spec, mean=config.mean)
    refs = tuple(
        TiledRef(ref.path, ref.data, layout=layout) if layout.tiles > 1 else ref
        for ref, layout in zip(sample.images, layouts, strict=True)
    )
    none = np.zeros((0, config.spec.tile, config.spec.tile, 3), np.uint8)
    return dataclasses.replace(sample, images=refs), np.concatenate([none, *tiles])


def with_views(sample: Sample, prompt_views: Sequence[Sequence[View | str]]) -> Sample:
    """The sample with each tag replaced by the tags and indicators of its image's views, and one image a view."""
    if all(len(pieces) == 1 for pieces in prompt_views):
        return sample
    texts = iter("".join(p if isinstance(p, str) else IMAGE_TAG for p in pieces) for pieces in prompt_views)
    images = tuple(sample.images[p.image] for pieces in prompt_views for p in pieces if isinstance(p, View))
    return dataclasses.replace(sample, turns=tuple(_expanded(turn, texts) for turn in sample.turns), images=images)


def _expanded(turn: Turn, texts: Iterator[str]) -> Turn:
    first, *rest = turn.text.split(IMAGE_TAG)
    return dataclasses.replace(turn, text=first + "".join(next(texts) + part for part in rest))


def view_pixels(
    images: Sequence[Image.Image], prompt_views: Sequence[Sequence[View | str]], config: ViewConfig, resolution: int
) -> np.ndarray:
    """The pixels of a prompt's views, as `views.views` lists them: uint8 [V, S, S, 3].

    Tiles are cut from the image on its grid (`letterbox`); the overview, and an image that is not split, becomes a
    square by `config.fit`.
    """
    listed = [v for v in itertools.chain(*prompt_views) if isinstance(v, View)]
    size = resolution
    canvases: dict[int, np.ndarray] = {}
    pixels = np.zeros((len(listed), size, size, 3), np.uint8)
    for n, view in enumerate(listed):
        if view.row == 0:
            pixels[n] = whole_view(images[view.image], config, size)
            continue
        if view.image not in canvases:
            canvases[view.image] = _on_grid(images[view.image], config, resolution)
        top, left = (view.row - 1) * size, (view.column - 1) * size
        pixels[n] = canvases[view.image][top : top + size, left : left + size]
    return pixels


def whole_view(image: Image.Image, config: ViewConfig, size: int) -> np.ndarray:
    """The whole image as one view, uint8 [size, size, 3], by `config.fit`."""
    if config.fit == "pad":
        return padded_view(image, size, colour=config.pad_colour)
    return centre_view(image, size) if config.fit == "crop" else square_view(image, size)


def _on_grid(image: Image.Image, config: ViewConfig, resolution: int) -> np.ndarray:
    """The image on its grid, uint8 [rows * S, columns * S, 3]."""
    at = place(image.height, image.width, config, resolution)
    return letterbox(image, (at.height, at.width), (at.grid[0] * resolution, at.grid[1] * resolution))
