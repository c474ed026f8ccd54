"""The pixels of MM1.5's views; which views there are stands in `core.splitting`."""

from __future__ import annotations

import numpy as np
from PIL import Image

from mmssr_jax.core.splitting import SplitSpec, View, place, views
from mmssr_jax.data.image import square_view


def split_pixels(images: list[Image.Image], spec: SplitSpec) -> np.ndarray:
    """The views of a prompt's pictures, in the order of `core.splitting.views`: uint8 [V, S, S, 3].

    A tile is cut from the picture scaled bicubically onto its grid, on black; the overview, and a picture that is not
    split, is squeezed into the square.
    """
    wanted = [v for v in views([(i.height, i.width) for i in images], spec) if isinstance(v, View)]
    size = spec.resolution
    canvases: dict[int, np.ndarray] = {}
    found = np.zeros((len(wanted), size, size, 3), np.uint8)
    for n, view in enumerate(wanted):
        if view.row == 0:
            found[n] = square_view(images[view.image], size)
            continue
        if view.image not in canvases:
            canvases[view.image] = _canvas(images[view.image], spec)
        top, left = (view.row - 1) * size, (view.column - 1) * size
        found[n] = canvases[view.image][top : top + size, left : left + size]
    return found


def _canvas(image: Image.Image, spec: SplitSpec) -> np.ndarray:
    """The picture on its grid, uint8 [rows * S, columns * S, 3]."""
    at = place(image.height, image.width, spec)
    canvas = np.zeros((at.grid[0] * spec.resolution, at.grid[1] * spec.resolution, 3), np.uint8)
    scaled = image.resize((at.width, at.height), Image.Resampling.BICUBIC)
    canvas[at.top : at.top + at.height, at.left : at.left + at.width] = np.asarray(scaled)
    return canvas
