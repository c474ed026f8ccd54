"""Images at their native aspect ratio, as Qwen3-VL's processors lay them out (transformers 5.24).

An image is resized such that both sides are multiples of a block and the number of pixels lies between two limits, then
cut into blocks, row by row (`images.image_blocks`). How many tokens it becomes follows from its size alone.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Literal

import numpy as np
from PIL import Image

from mmssr_jax.core.sample import ImageRef
from mmssr_jax.images.image_blocks import ImageBlocks, places
from mmssr_jax.images.views import ViewConfig

_MAX_RATIO = 200


@dataclasses.dataclass(frozen=True)
class NativeViewConfig(ViewConfig):
    """Mode "native" with the sizes of a model.

    Attributes:
      block: side of a block in pixels; a block becomes one token.
      block_frames: frames of a block; a still image is repeated.
    """

    mode: Literal["single", "static", "dynamic", "anyres", "native"] = "native"
    newline: bool = False
    block: int = 32
    block_frames: int = 2


@dataclasses.dataclass(frozen=True)
class BlocksRef(ImageRef):
    """An image or video that is cut into blocks; it has one tag.

    Attributes:
      grid: (rows, columns) of the image, or of each frame pair of the video.
      times: seconds of each frame pair of a video; None for an image.
    """

    grid: tuple[int, int] = dataclasses.field(kw_only=True)
    times: tuple[float, ...] | None = dataclasses.field(default=None, kw_only=True)


def native_size(height: int, width: int, *, block: int, pixels: tuple[int, int]) -> tuple[int, int]:
    """The size (height, width) that an image is resized to.

    Both are the nearest multiples of the block, and shrunk or enlarged if they have too many or too few pixels; a very
    thin image can lie outside the limits.

    Raises:
      ValueError: the longer side is over 200 times the shorter.
    """
    return _resized(1, 1, height, width, block=block, pixels=pixels)


def video_size(frames: int, height: int, width: int, *, block: int, pixels: tuple[int, int]) -> tuple[int, int]:
    """The size (height, width) that the frames of a video are resized to.

    The limits count the pixels of all frames, whose number is rounded to a multiple of two (half to even, as Python's
    `round`). A frame with a side smaller than the block is first scaled up.

    Raises:
      ValueError: the longer side is over 200 times the shorter, or there is only one frame.
    """
    if frames < 2:
        raise ValueError(f"a video of {frames} frame: expected 2 or more")
    if min(height, width) < block:
        scale = max(block / height, block / width)
        height, width = int(height * scale), int(width * scale)
    return _resized(frames, round(frames / 2) * 2, height, width, block=block, pixels=pixels)


def _resized(
    frames: int, counted: int, height: int, width: int, *, block: int, pixels: tuple[int, int]
) -> tuple[int, int]:
    if max(height, width) > _MAX_RATIO * min(height, width):
        raise ValueError(f"{width} x {height} pixels: the longer side is more than {_MAX_RATIO} times the shorter")
    least, most = pixels
    rows, columns = round(height / block), round(width / block)
    area = counted * rows * columns * block**2
    if area > most:
        shrink = math.sqrt(frames * height * width / most)
        rows, columns = (max(1, math.floor(side / shrink / block)) for side in (height, width))
    elif area < least:
        grow = math.sqrt(least / (frames * height * width))
        rows, columns = (math.ceil(side * grow / block) for side in (height, width))
    return rows * block, columns * block


def resized(image: Image.Image, size: tuple[int, int]) -> np.ndarray:
    """The image resized bicubically to (height, width): uint8 [height, width, 3]."""
    if (image.height, image.width) != size:
        image = image.resize((size[1], size[0]), Image.Resampling.BICUBIC)
    return np.asarray(image, np.uint8)


def cut(frames: Sequence[np.ndarray], block: int) -> np.ndarray:
    """F frames of one size, uint8 [height, width, 3] each, as blocks in raster order: uint8 [M, F, S, S, 3]."""
    height, width = frames[0].shape[:2]
    pixels = np.stack(frames).reshape(len(frames), height // block, block, width // block, block, 3)
    return pixels.transpose(1, 3, 0, 2, 4, 5).reshape(-1, len(frames), block, block, 3)


def image_frames(image: Image.Image, config: NativeViewConfig) -> list[np.ndarray]:
    """A still image, resized and repeated as the frames of its blocks: uint8 [height, width, 3] each.

    Args:
      image: mode RGB.
      config: of the model.

    Raises:
      ValueError: the image is too thin.
    """
    size = native_size(image.height, image.width, block=config.block, pixels=config.pixels)
    return [resized(image, size)] * config.block_frames


def joined(images: Sequence[Sequence[np.ndarray]], config: NativeViewConfig) -> ImageBlocks:
    """The blocks of images in sequence, given each image's resized frames, uint8 [height, width, 3]."""
    S = config.block
    none = np.zeros((0, config.block_frames, S, S, 3), np.uint8)
    grids = [(frames[0].shape[0] // S, frames[0].shape[1] // S) for frames in images]
    return ImageBlocks(np.concatenate([none, *(cut(frames, S) for frames in images)]), places(grids))
