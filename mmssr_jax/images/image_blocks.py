"""Images of any aspect ratio as rows of blocks: a block is the square of patches that becomes one token.

    image 1: 2 x 3 blocks      b b b        place (image, row, column, rows, columns), in raster order:
                               b b b        (1, 0, 0, 2, 3), (1, 0, 1, 2, 3), ... (1, 1, 2, 2, 3)

Blocks of many images are concatenated in one array; their places say which belong together. A frame pair of a
video is an image of its own. Padding has place 0, so that it belongs to no image: images count from 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from mmssr_jax.images.anyres import FeatureIndex, is_image

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


def zeros_like(pixels: Pixels, count: int) -> Pixels:
    """`count` views or blocks of zeros, of the form of `pixels`, [count, ...]."""
    if isinstance(pixels, ImageBlocks):
        return ImageBlocks(*(zeros_like(part, count) for part in pixels))
    return np.zeros((count, *pixels.shape[1:]), pixels.dtype)


def put(pixels: Pixels, first: int, part: Pixels) -> None:
    """Writes views or blocks, [n, ...], over those from `first` on."""
    if isinstance(pixels, ImageBlocks):
        pixels.place[first : first + len(part.place)] = part.place
        pixels, part = pixels.pixels, part.pixels
    pixels[first : first + len(part)] = part


def block_room(blocks: int) -> int:
    """The number of blocks that a row is padded to: steps of a quarter of the next lower power of two, at least 32.

    So few sizes occur, hence few programs are compiled: 13 up to 1024 blocks.
    """
    step = max(32, (1 << max(blocks - 1, 0).bit_length()) >> 3)
    return -(-blocks // step) * step


def room(pixels: Pixels, sizes: Sequence[int]) -> int | None:
    """The number of views that these are padded to, one of the ascending `sizes`; None if they are more.

    Blocks, which are hundreds, have sizes of their own (`block_room`).
    """
    if isinstance(pixels, ImageBlocks):
        return block_room(count(pixels))
    return next((n for n in sizes if n >= count(pixels)), None)


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


def token_positions(slots: FeatureIndex, pixels: Pixels) -> np.ndarray:
    """Positions of one sequence, int32 [L]; 0, 1, 2, ... unless it has blocks.

    Args:
      slots: `data.example.Example.image_slot`, [L].
      pixels: the sequence's views or blocks.
    """
    if not isinstance(pixels, ImageBlocks) or not len(pixels.place):
        return np.arange(len(is_image(slots)), dtype=np.int32)
    return np.asarray(sequence_positions(slots > 0, pixels.place[np.maximum(slots - 1, 0)]))
