"""A sample's images and videos as blocks (mode "native"): one tag an image, and one tag for all frames of a video."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
from PIL import Image

from mmssr_jax.core.sample import IMAGE_TAG, Sample, Turn
from mmssr_jax.images.frames import FrameRef, frame_times
from mmssr_jax.images.image_blocks import ImageBlocks
from mmssr_jax.images.native import BlocksRef, NativeViewConfig, image_frames, joined
from mmssr_jax.images.native_video import pair_times, video_frames


def in_blocks(sample: Sample, images: Sequence[Image.Image], config: NativeViewConfig) -> tuple[Sample, ImageBlocks]:
    """The blocks of a sample's images, and the sample with a `BlocksRef` for each image and each video.

    Frames of a video whose tags are adjacent become one tag, and pairs of them one image each.

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
            n = _frames_beside(sample, at, texts)
            ref = sample.images[at]
            if isinstance(ref, FrameRef):
                pairs = video_frames(images[at : at + n], config)
                times = tuple(pair_times(frame_times(*ref.video)[ref.number : ref.number + n]))
            else:
                pairs, times = [image_frames(images[at], config)], None
            rows, columns = (side // config.block for side in pairs[0][0].shape[:2])
            refs.append(BlocksRef(ref.path, ref.data, grid=(rows, columns), times=times))
            blocks += pairs
            kept.append(texts[n - 1])
            texts, at = texts[n:], at + n
        turns.append(dataclasses.replace(turn, text=IMAGE_TAG.join(kept)))
    return dataclasses.replace(sample, turns=tuple(turns), images=tuple(refs)), joined(blocks, config)


def _frames_beside(sample: Sample, at: int, texts: Sequence[str]) -> int:
    """How many images from `at` on are frames of one video with nothing between their tags; 1 for a still image.

    Args:
      sample: of the images.
      at: number of the first image.
      texts: what follows each of the remaining tags of its turn.
    """
    ref, n = sample.images[at], 1
    if not isinstance(ref, FrameRef):
        return 1
    while n < len(texts) and not texts[n - 1]:
        following = sample.images[at + n]
        if not isinstance(following, FrameRef) or following.video != ref.video or following.number != ref.number + n:
            break
        n += 1
    return n
