"""Configuration of a vision tower for images at their native aspect ratio."""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True)
class NativeConfig:
    """A tower for images at their native aspect ratio (Qwen3-VL, arXiv 2511.21631); see `images.image_blocks`.

    Attributes:
      table: side of the square table of learned positions, which is interpolated to the grid of each image.
      frames: a patch spans this many frames; a still image is repeated.
      deepstack: layers, from 0 and ascending, whose outputs also become features, for the decoder's first layers.
    """

    table: int
    frames: int = 2
    deepstack: tuple[int, ...] = ()
