"""Decoded images, and the resizing and padding that turn them into square views."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
from PIL import Image

from mmssr_jax.core.sample import Sample
from mmssr_jax.images.decode import PILLOW_MAX_PIXELS, open_rgb
from mmssr_jax.images.frame_rate import FrameRate
from mmssr_jax.images.frames import FrameRef, read_frames


def square_view(image: Image.Image, size: int) -> np.ndarray:
    """The whole image, resized bicubically without keeping its aspect ratio (SigLIP's image processor).

    Returns:
      uint8 [size, size, 3].
    """
    return np.asarray(_bicubic(image, size, size), np.uint8)


def padded_view(image: Image.Image, size: int, *, colour: tuple[int, int, int]) -> np.ndarray:
    """The image centred on a square of `colour` (8-bit RGB), resized bicubically: uint8 [size, size, 3].

    An image whose square would be too large to hold is resized first, then centred.
    """
    side = max(image.size)
    if side**2 > PILLOW_MAX_PIXELS:
        image = _bicubic(image, *(math.ceil(length * size / side) for length in image.size))
        side = size
    square = Image.new("RGB", (side, side), colour)
    square.paste(image, ((side - image.width) // 2, (side - image.height) // 2))
    return square_view(square, size)


def centre_view(image: Image.Image, size: int) -> np.ndarray:
    """Bicubic resize of the shorter side to `size`, then a centre crop (CLIP's image processor).

    A thin image that would become too large is cropped first, then resized.

    Returns:
      uint8 [size, size, 3].
    """
    short = min(image.size)
    width, height = (int(size * side / short) for side in image.size)
    if width * height > PILLOW_MAX_PIXELS:
        left, top = (image.width - short) // 2, (image.height - short) // 2
        return square_view(image.crop((left, top, left + short, top + short)), size)
    image = _bicubic(image, width, height)
    left, top = (width - size) // 2, (height - size) // 2
    return np.asarray(image.crop((left, top, left + size, top + size)), np.uint8)


def letterbox(image: Image.Image, size: tuple[int, int], canvas: tuple[int, int]) -> np.ndarray:
    """The image, resized bicubically and centred on black; an odd pixel of padding goes to the bottom or right.

    Args:
      image: mode RGB.
      size: (height, width) to resize to; not larger than the canvas.
      canvas: (height, width) of the result.

    Returns:
      uint8 [height, width, 3] of the canvas.
    """
    (height, width), padded = size, np.zeros((*canvas, 3), np.uint8)
    top, left = (canvas[0] - height) // 2, (canvas[1] - width) // 2
    padded[top : top + height, left : left + width] = np.asarray(_bicubic(image, width, height))
    return padded


def _bicubic(image: Image.Image, width: int, height: int) -> Image.Image:
    if width * image.height > PILLOW_MAX_PIXELS:  # Pillow resizes every row before it drops any: a column of pixels
        image = image.resize((image.width, height), Image.Resampling.BICUBIC)
    return image if image.size == (width, height) else image.resize((width, height), Image.Resampling.BICUBIC)


def sample_images(sample: Sample, *, max_pixels: int) -> list[Image.Image]:
    """A sample's images, decoded to RGB; a video is decoded once for all its frames.

    Raises:
      OSError, ValueError: an image cannot be read (see `open_rgb`, `read_frames`).
    """
    videos: dict[tuple[Path, int | FrameRate], list[Image.Image]] = {}
    images = []
    for ref in sample.images:
        if isinstance(ref, FrameRef):
            if ref.video not in videos:
                videos[ref.video] = read_frames(*ref.video, max_pixels=max_pixels)
            images.append(videos[ref.video][ref.number])
        else:
            images.append(open_rgb(ref.read(), max_pixels=max_pixels))
    return images
