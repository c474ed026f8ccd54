"""The record that all stages share: one image-text conversation."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Literal

IMAGE_TAG = "<image>"

Role = Literal["user", "assistant"]

ChatTemplate = Literal["chatml", "vicuna", "qwen3_vl"]
"""How a conversation becomes text: ChatML (Qwen, LLaVA-OneVision) or Vicuna's plain roles (LLaVA-1.5); see
`data.chat` and `data.vicuna`."""


@dataclasses.dataclass(frozen=True)
class Turn:
    """One message. `text` keeps its `<image>` tags where they stood."""

    role: Role
    text: str


@dataclasses.dataclass(frozen=True)
class ImageRef:
    """An encoded image: a file on disk, or bytes out of a packed pool. Exactly one of the two is set.

    `clip` is the video that the image is a frame of, and the frame's number in it; None for a still image.
    """

    path: Path | None = None
    data: bytes | None = None
    clip: tuple[str, int] | None = dataclasses.field(default=None, kw_only=True)

    def read(self) -> bytes:
        """The encoded bytes (JPEG, PNG, ...).

        Raises:
          OSError: the file is gone or not readable.
        """
        if self.data is not None:
            return self.data
        assert self.path is not None
        return self.path.read_bytes()


@dataclasses.dataclass(frozen=True)
class Sample:
    """One instruction sample: turns alternate user, assistant; tags and images agree in number and order.

    A video is a number of its frames, each an image with its own tag. `system` is the system prompt; None for the
    chat template's default.
    """

    id: str
    source: str
    turns: tuple[Turn, ...]
    images: tuple[ImageRef, ...] = ()
    system: str | None = None
