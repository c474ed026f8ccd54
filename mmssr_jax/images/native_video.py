"""Videos as Qwen3-VL's processor lays them out (transformers 5.24): pairs of frames with their times in seconds.

<|vision_start|> <0.2 seconds> <|vision_start|> blocks <|vision_end|> <1.2 seconds> … <|vision_end|>
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image

from mmssr_jax.images.native import NativeViewConfig, resized, video_size


def in_pairs(frames: Sequence[int]) -> list[tuple[int, int]]:
    """Frames two by two; an odd number repeats the last."""
    padded = [*frames, *([frames[-1]] if len(frames) % 2 else [])]
    return list(zip(padded[::2], padded[1::2], strict=True))


def pair_times(times: Sequence[float]) -> list[float]:
    """The mean time of each pair of frames, from the times of the frames; an odd number repeats the last."""
    return [(times[a] + times[b]) / 2 for a, b in in_pairs(range(len(times)))]


def timestamp(time: float) -> str:
    """The text before a pair of frames."""
    return f"<{time:.1f} seconds>"


def video_frames(frames: Sequence[Image.Image], config: NativeViewConfig) -> list[list[np.ndarray]]:
    """The pairs of a video's frames, resized: uint8 [height, width, 3] each.

    Args:
      frames: mode RGB, all of one size; a single frame is repeated.
      config: of the model.

    Raises:
      ValueError: the frames are too thin.
    """
    count = max(len(frames), 2)
    size = video_size(count, frames[0].height, frames[0].width, block=config.block, pixels=config.video_pixels)
    return [[resized(frames[a], size), resized(frames[b], size)] for a, b in in_pairs(range(len(frames)))]
