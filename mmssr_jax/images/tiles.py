"""The tiles of LLaVA-OneVision's image processor (transformers, PIL backend).

The only image of a prompt becomes its base tile (the whole image resized to a square) and the tiles of its grid: the
image is resized to fit, centred on black and cut row by row. Several images become one tile each, centred on a square
of the mean colour. `images.anyres` says which tokens the tiles become. Pixels stay uint8; the model normalises them.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
from PIL import Image

from mmssr_jax.core.sample import ImageRef
from mmssr_jax.images.anyres import AnyresSpec, TileLayout, anyres_layout, fit, single_layout
from mmssr_jax.images.resize import letterbox, padded_view, square_view

Colour = tuple[float, float, float]


@dataclasses.dataclass(frozen=True)
class TiledRef(ImageRef):
    """An image that is cut into tiles, with the layout of its tokens."""

    layout: TileLayout = dataclasses.field(kw_only=True)


def prompt_tiles(
    images: Sequence[Image.Image], spec: AnyresSpec, *, mean: Colour = (0.5, 0.5, 0.5)
) -> tuple[list[np.ndarray], list[TileLayout]]:
    """The tiles and layouts of all images of one prompt.

    Args:
      images: mode RGB.
      spec: of the model.
      mean: of the model's normalisation, in 0..1; pads images that are not square.

    Returns:
      for each image its tiles, uint8 [tiles, S, S, 3], and its layout.
    """
    if len(images) == 1:
        layout = anyres_layout(images[0].height, images[0].width, spec)
        return [anyres_tiles(images[0], layout.grid, spec.tile)], [layout]
    red, green, blue = (int(c * 255) for c in mean)
    views = [padded_view(i, spec.tile, colour=(red, green, blue))[None] for i in images]
    return views, [single_layout(spec)] * len(images)


def anyres_tiles(image: Image.Image, grid: tuple[int, int], size: int) -> np.ndarray:
    """The base tile and the tiles of the grid: uint8 [1 + rows * columns, size, size, 3]."""
    rows, columns = grid
    canvas = (rows * size, columns * size)
    padded = letterbox(image, fit(image.height, image.width, *canvas), canvas)
    tiles = padded.reshape(rows, size, columns, size, 3).swapaxes(1, 2).reshape(-1, size, size, 3)
    return np.concatenate([square_view(image, size)[None], tiles])
