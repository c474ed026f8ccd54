"""Images of any aspect ratio as rows of blocks: a block is the square of patches that becomes one token.

    image 1: 2 x 3 blocks      b b b        place (image, row, column, rows, columns), in raster order:
                               b b b        (1, 0, 0, 2, 3), (1, 0, 1, 2, 3), ... (1, 1, 2, 2, 3)

Blocks of many images stand in one array behind each other; their places say which belong together. A frame pair of a
video is an image of its own. Padding has place 0, so that it belongs to no image: images count from 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

IMAGE, ROW, COLUMN, ROWS, COLUMNS = range(5)
"""Columns of `ImageBlocks.place`."""


class ImageBlocks(NamedTuple):
    """M blocks of F frames and S x S pixels; numpy or jax.

    Attributes:
      pixels: uint8 [M, F, S, S, 3], or floats that are normalised already; both frames of a still image are equal.
      place: int32 [M, 5], see the module.
    """

    pixels: Any
    place: Any


Pixels = Any
"""Views, uint8 [I, S, S, 3], or `ImageBlocks`, whose M blocks are counted like views."""


def count(pixels: Pixels) -> int:
    """The number of views or blocks."""
    return int((pixels.pixels if isinstance(pixels, ImageBlocks) else pixels).shape[0])


def take(pixels: Pixels, at: slice) -> Pixels:
    """`pixels[at]` along the first axis."""
    return ImageBlocks(pixels.pixels[at], pixels.place[at]) if isinstance(pixels, ImageBlocks) else pixels[at]


def places(grids: Sequence[tuple[int, int]]) -> np.ndarray:
    """The places of all blocks of images with (rows, columns) blocks, int32 [M, 5]."""
    parts = [np.zeros((0, 5), np.int32)]
    for number, (rows, columns) in enumerate(grids, 1):
        row, column = np.divmod(np.arange(rows * columns, dtype=np.int32), columns)
        same = np.broadcast_to(np.array([[number], [rows], [columns]], np.int32), (3, rows * columns))
        parts.append(np.stack([same[0], row, column, same[1], same[2]], axis=1))
    return np.concatenate(parts)


def sequence_positions(is_block: Any, place: Any) -> Any:
    """Positions (of the time axis) of a sequence of text and blocks, int32 [..., L]; numpy or jax.

    A run of text counts on. All blocks of an image have the position p of its first; the next token has
    p + max(rows, columns) (`get_rope_index` of Qwen3-VL in transformers 5.24).

    Args:
      is_block: bool [..., L].
      place: int32 [..., L, 5], of the blocks; anything for text.
    """
    rows, columns = place[..., ROWS], place[..., COLUMNS]
    last = (place[..., ROW] == rows - 1) & (place[..., COLUMN] == columns - 1)
    longer = rows * (rows >= columns) + columns * (rows < columns)
    advance = (1 - is_block) + is_block * last * longer
    return (advance.cumsum(-1) - advance).astype("int32")
