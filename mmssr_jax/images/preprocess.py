"""From a sample's images to the square views that a model receives; `images.views` says which views those are."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator, Sequence

import numpy as np
from PIL import Image

from mmssr_jax.core.sample import IMAGE_TAG, ImageRef, Sample, Turn
from mmssr_jax.images.image_blocks import Pixels
from mmssr_jax.images.merged_clips import ClipRef, merge_clips
from mmssr_jax.images.native import NativeViewConfig
from mmssr_jax.images.native_sample import in_blocks
from mmssr_jax.images.resize import centre_view, letterbox, padded_view, sample_images, square_view
from mmssr_jax.images.tiles import TiledRef, prompt_tiles
from mmssr_jax.images.views import AnyresViewConfig, View, ViewConfig, place, views


def preprocess(sample: Sample, config: ViewConfig, resolution: int, *, max_pixels: int) -> tuple[Sample, Pixels]:
    """The views of a sample, and the sample with a tag for each of them.

    Args:
      sample: with as many images as tags.
      config: which views; see `VLMConfig.view_config`.
      resolution: S, side of a view in pixels.
      max_pixels: larger images are an error.

    Returns:
      In mode "native" see `native_sample.in_blocks`; otherwise
      the sample with one `<image>` tag a view and the indicators around them, and the views, uint8 [V, S, S, 3]. With
      single views the sample is unchanged; in mode "anyres" a tiled image is a `TiledRef`, with one tag for all tiles.

    Raises:
      OSError, ValueError: an image cannot be read (see `open_rgb`).
    """
    images = sample_images(sample, max_pixels=max_pixels)
    if config.frames == "pooled" and any(ref.clip for ref in sample.images):
        return _with_clips(sample, images, config, resolution)
    if isinstance(config, AnyresViewConfig):
        return _tiled(sample, images, config)
    if isinstance(config, NativeViewConfig):
        return in_blocks(sample, images, config)
    prompt_views = views([(i.height, i.width) for i in images], config, resolution)
    return with_views(sample, prompt_views), view_pixels(images, prompt_views, config, resolution)


def _with_clips(
    sample: Sample, images: Sequence[Image.Image], config: ViewConfig, resolution: int
) -> tuple[Sample, np.ndarray]:
    """A sample with videos whose frames are pooled: each a `ClipRef` with one tag; its other images as without them."""
    merged, taken = merge_clips(sample), iter(images)
    groups = [[next(taken) for _ in range(ref.frames if isinstance(ref, ClipRef) else 1)] for ref in merged.images]
    pairs = list(zip(merged.images, groups, strict=True))
    stills = [(ref, group[0]) for ref, group in pairs if not isinstance(ref, ClipRef)]
    if isinstance(config, AnyresViewConfig):
        own = iter(_tiles(stills, config))
    else:
        own = iter([(ref, whole_view(image, config, resolution)[None]) for ref, image in stills])
    shown = [
        (ref, np.stack([square_view(frame, resolution) for frame in group])) if isinstance(ref, ClipRef) else next(own)
        for ref, group in pairs
    ]
    return _joined(merged, shown, resolution)


def _tiled(sample: Sample, images: Sequence[Image.Image], config: AnyresViewConfig) -> tuple[Sample, np.ndarray]:
    shown = _tiles(list(zip(sample.images, images, strict=True)), config)
    return _joined(sample, shown, config.spec.tile)


def _tiles(
    images: Sequence[tuple[ImageRef, Image.Image]], config: AnyresViewConfig
) -> list[tuple[ImageRef, np.ndarray]]:
    """The tiles of a prompt's images, uint8 [tiles, S, S, 3]; a tiled image is a `TiledRef`."""
    tiles, layouts = prompt_tiles([image for _, image in images], config.spec, mean=config.mean)
    return [
        (TiledRef(ref.path, ref.data, layout=layout) if layout.tiles > 1 else ref, pixels)
        for (ref, _), layout, pixels in zip(images, layouts, tiles, strict=True)
    ]


def _joined(sample: Sample, shown: Sequence[tuple[ImageRef, np.ndarray]], resolution: int) -> tuple[Sample, np.ndarray]:
    """The sample with these images, and the pixels of all of them."""
    none = np.zeros((0, resolution, resolution, 3), np.uint8)
    refs = tuple(ref for ref, _ in shown)
    return dataclasses.replace(sample, images=refs), np.concatenate([none, *(pixels for _, pixels in shown)])


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
