"""The record that all stages share: one image-text conversation."""

from __future__ import annotations

import dataclasses
import errno
import os
import stat
from pathlib import Path
from typing import Literal

IMAGE_TAG = "<image>"

MAX_IMAGE_BYTES = 256 << 20
"""The most that is read of one encoded image: a file, or a member of a shard."""

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

    `clip` is the video that the image is a frame of, and the frame's number in it; None for a still image. `time` is
    the frame's time, see `seconds`.
    """

    path: Path | None = None
    data: bytes | None = None
    clip: tuple[str, int] | None = dataclasses.field(default=None, kw_only=True)
    time: float | None = dataclasses.field(default=None, kw_only=True)

    def seconds(self) -> float | None:
        """The time of a frame from the first frame of its video; None for a still image, and where it is not known."""
        return self.time

    def follows(self, before: ImageRef) -> bool:
        """Whether both are frames of one video, this one a later frame."""
        if self.clip is None or before.clip is None:
            return False
        return self.clip[0] == before.clip[0] and self.clip[1] > before.clip[1]

    def read(self) -> bytes:
        """The encoded bytes (JPEG, PNG, ...).

        Raises:
          OSError: the file is gone or not readable, is a pipe or a device, or has more than MAX_IMAGE_BYTES.
        """
        if self.data is not None:
            return self.data
        assert self.path is not None
        found = self.path.stat()
        if not stat.S_ISREG(found.st_mode):  # a pipe would wait for a writer, a device may have no end
            raise OSError(errno.EINVAL, "is not a file", str(self.path))
        if found.st_size > MAX_IMAGE_BYTES:
            raise OSError(errno.EFBIG, os.strerror(errno.EFBIG), str(self.path))
        with open(self.path, "rb") as f:
            return f.read(found.st_size)


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
