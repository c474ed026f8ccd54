"""Encoded pictures to the pixels a vision tower takes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from mmssr_jax.core.sample import Sample
from mmssr_jax.images.decode import open_rgb
from mmssr_jax.images.frames import FrameRef, read_frames


def square_view(image: Image.Image, size: int) -> np.ndarray:
    """The whole picture as one crop: bicubic resize to `size` x `size`, aspect ratio not kept (SigLIP's processor).

    Returns:
      uint8 [size, size, 3].
    """
    if image.size != (size, size):
        image = image.resize((size, size), Image.Resampling.BICUBIC)
    return np.asarray(image, np.uint8)


def centre_view(image: Image.Image, size: int) -> np.ndarray:
    """The middle of the picture: bicubic resize of its shorter side to `size`, then the square (CLIP's processor).

    Returns:
      uint8 [size, size, 3].
    """
    short = min(image.size)
    width, height = (int(size * side / short) for side in image.size)
    if image.size != (width, height):
        image = image.resize((width, height), Image.Resampling.BICUBIC)
    left, top = (width - size) // 2, (height - size) // 2
    return np.asarray(image.crop((left, top, left + size, top + size)), np.uint8)


def sample_images(sample: Sample, *, max_pixels: int) -> list[Image.Image]:
    """A sample's pictures, decoded to RGB; a video is decoded once for all of its frames.

    Raises:
      OSError, ValueError: a picture cannot be read (see `open_rgb`, `read_frames`).
    """
    videos: dict[tuple[Path, int], list[Image.Image]] = {}
    images = []
    for ref in sample.images:
        if isinstance(ref, FrameRef):
            if ref.video not in videos:
                videos[ref.video] = read_frames(*ref.video, max_pixels=max_pixels)
            images.append(videos[ref.video][ref.number])
        else:
            images.append(open_rgb(ref.read(), max_pixels=max_pixels))
    return images


def sample_views(sample: Sample, size: int, *, max_pixels: int) -> np.ndarray:
    """One view of each of a sample's images: uint8 [I, size, size, 3]; raises as `sample_images`."""
    views = [square_view(image, size) for image in sample_images(sample, max_pixels=max_pixels)]
    return np.stack(views) if views else np.zeros((0, size, size, 3), np.uint8)
