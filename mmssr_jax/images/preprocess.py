"""What a model sees of a sample: its pictures as square views; which views there are stands in `core.splitting`."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator, Sequence

import numpy as np
from PIL import Image

from mmssr_jax.core.sample import IMAGE_TAG, Sample, Turn
from mmssr_jax.images.resize import sample_images, square_view
from mmssr_jax.images.tiles import TiledRef, prompt_tiles
from mmssr_jax.images.views import AnyresViewConfig, View, ViewConfig, place, views


def preprocess(sample: Sample, config: ViewConfig, resolution: int, *, max_pixels: int) -> tuple[Sample, np.ndarray]:
    """The sample as a model is shown it.

    Args:
      sample: as many images as tags.
      config: which views; of the model (`VLMConfig.view_config`).
      resolution: S, side of a view in pixels.
      max_pixels: larger pictures are not decoded.

    Returns:
      the sample with one `<image>` tag a view, indicators around them, and the views, uint8 [V, S, S, 3]. With single
      views the sample is as it was; in mode "anyres" a picture that is tiled is a `TiledRef`, whose one tag stands for
      all of its tiles.

    Raises:
      OSError, ValueError: a picture cannot be read (see `open_rgb`).
    """
    images = sample_images(sample, max_pixels=max_pixels)
    if isinstance(config, AnyresViewConfig):
        return _tiled(sample, images, config)
    shown = views([(i.height, i.width) for i in images], config, resolution)
    return with_views(sample, shown), split_pixels(images, shown, config, resolution)


def _tiled(sample: Sample, images: Sequence[Image.Image], config: AnyresViewConfig) -> tuple[Sample, np.ndarray]:
    tiles, layouts = prompt_tiles(images, config.spec, mean=config.mean)
    refs = tuple(
        TiledRef(ref.path, ref.data, layout=layout) if layout.tiles > 1 else ref
        for ref, layout in zip(sample.images, layouts, strict=True)
    )
    none = np.zeros((0, config.spec.tile, config.spec.tile, 3), np.uint8)
    return dataclasses.replace(sample, images=refs), np.concatenate([none, *tiles])


def with_views(sample: Sample, shown: Sequence[Sequence[View | str]]) -> Sample:
    """The sample with each tag replaced by its picture's views; an image of the result is the picture of a view."""
    if all(len(pieces) == 1 for pieces in shown):
        return sample
    texts = iter("".join(p if isinstance(p, str) else IMAGE_TAG for p in pieces) for pieces in shown)
    images = tuple(sample.images[p.image] for pieces in shown for p in pieces if isinstance(p, View))
    return dataclasses.replace(sample, turns=tuple(_expanded(turn, texts) for turn in sample.turns), images=images)


def _expanded(turn: Turn, texts: Iterator[str]) -> Turn:
    first, *rest = turn.text.split(IMAGE_TAG)
    return dataclasses.replace(turn, text=first + "".join(next(texts) + part for part in rest))


def split_pixels(
    images: Sequence[Image.Image], shown: Sequence[Sequence[View | str]], config: ViewConfig, resolution: int
) -> np.ndarray:
    """The views of a prompt's pictures, as `core.splitting.views` lists them: uint8 [V, S, S, 3].

    A tile is cut from the picture scaled bicubically onto its grid, on black; the overview, and a picture that is not
    split, is squeezed into the square.
    """
    wanted = [v for v in itertools.chain(*shown) if isinstance(v, View)]
    size = resolution
    canvases: dict[int, np.ndarray] = {}
    found = np.zeros((len(wanted), size, size, 3), np.uint8)
    for n, view in enumerate(wanted):
        if view.row == 0:
            found[n] = square_view(images[view.image], size)
            continue
        if view.image not in canvases:
            canvases[view.image] = _canvas(images[view.image], config, resolution)
        top, left = (view.row - 1) * size, (view.column - 1) * size
        found[n] = canvases[view.image][top : top + size, left : left + size]
    return found


def _canvas(image: Image.Image, config: ViewConfig, resolution: int) -> np.ndarray:
    """The picture on its grid, uint8 [rows * S, columns * S, 3]."""
    at = place(image.height, image.width, config, resolution)
    canvas = np.zeros((at.grid[0] * resolution, at.grid[1] * resolution, 3), np.uint8)
    scaled = image.resize((at.width, at.height), Image.Resampling.BICUBIC)
    canvas[at.top : at.top + at.height, at.left : at.left + at.width] = np.asarray(scaled)
    return canvas
