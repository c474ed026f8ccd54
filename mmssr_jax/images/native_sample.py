"""A sample's images and videos as blocks (mode "native"): one tag an image, and one tag for all frames of a video."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
from PIL import Image

from mmssr_jax.core.sample import IMAGE_TAG, ImageRef, Sample, Turn
from mmssr_jax.images.image_blocks import ImageBlocks
from mmssr_jax.images.native import BlocksRef, NativeViewConfig, image_frames, joined
from mmssr_jax.images.native_video import pair_times, video_frames


def in_blocks(sample: Sample, images: Sequence[Image.Image], config: NativeViewConfig) -> tuple[Sample, ImageBlocks]:
    """The blocks of a sample's images, and the sample with a `BlocksRef` for each image and each video.

    Frames of a video whose tags are adjacent become one tag, and pairs of them one image each; without times they stay
    images.

    Args:
      sample: with as many images as tags.
      images: decoded, mode RGB.
      config: of the model.

    Raises:
      ValueError: an image is too thin.
    """
    turns: list[Turn] = []
    refs: list[BlocksRef] = []
    blocks: list[list[np.ndarray]] = []
    at = 0
    for turn in sample.turns:
        first, *texts = turn.text.split(IMAGE_TAG)
        kept = [first]
        while texts:
            ref, times = sample.images[at], _video_times(sample.images[at:], texts)
            n = max(len(times), 1)
            pairs = video_frames(images[at : at + n], config) if times else [image_frames(images[at], config)]
            rows, columns = (side // config.block for side in pairs[0][0].shape[:2])
            refs.append(BlocksRef(ref.path, ref.data, grid=(rows, columns), times=tuple(pair_times(times)) or None))
            blocks += pairs
            kept.append(texts[n - 1])
            texts, at = texts[n:], at + n
        turns.append(dataclasses.replace(turn, text=IMAGE_TAG.join(kept)))
    return dataclasses.replace(sample, turns=tuple(turns), images=tuple(refs)), joined(blocks, config)


def _video_times(refs: Sequence[ImageRef], texts: Sequence[str]) -> list[float]:
    """The times of the frames of one video with nothing between their tags, from the first of `refs` on.

    Empty for a still image, and for a frame whose time is not known, which is shown as one.

    Args:
      refs: the images from there on.
      texts: what follows each of the remaining tags of its turn.
    """
    times: list[float] = []
    for n, ref in enumerate(refs[: len(texts)]):
        if n and (texts[n - 1] or not ref.follows(refs[n - 1])):
            break
        time = ref.seconds()
        if time is None:
            break
        times.append(time)
    return times
