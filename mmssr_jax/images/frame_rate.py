"""Frames of a video by its frame rate: the sampling rule of Qwen3-VL's video processor (transformers 5.24)."""

from __future__ import annotations

import dataclasses

import numpy as np


@dataclasses.dataclass(frozen=True)
class FrameRate:
    """A number of frames for each second of a video, within limits.

    Attributes:
      fps: frames for each second of the video.
      min_frames, max_frames: the fewest and most frames of a video; one that has fewer than `min_frames` gives all.
    """

    fps: float = 2.0
    min_frames: int = 4
    max_frames: int = 768

    def __post_init__(self) -> None:
        if self.fps <= 0:
            raise ValueError(f"fps is {self.fps}; expected more than 0")
        if not 1 <= self.min_frames <= self.max_frames:
            found = f"min_frames is {self.min_frames} and max_frames {self.max_frames}"
            raise ValueError(f"{found}; expected 1 <= min_frames <= max_frames")

    def count(self, total: int, video_fps: float) -> int:
        """The number of frames to take: total / video_fps * fps rounded down, then within the limits and `total`.

        Args:
          total: number of frames of the video.
          video_fps: frames per second of the video.
        """
        return min(max(int(total / video_fps * self.fps), self.min_frames), self.max_frames, total)

    def indices(self, total: int, video_fps: float) -> list[int]:
        """The frames to take, evenly spaced from the first to the last; half-way positions go to the even index.

        Args:
          total: number of frames of the video.
          video_fps: frames per second of the video.
        """
        places = np.linspace(0, total - 1, self.count(total, video_fps))
        return [int(k) for k in np.rint(places)]
