"""A selected sample with its record, as formats receive it, and file names for ids and images."""

from __future__ import annotations

import dataclasses
import json
import re
import urllib.parse
from typing import Any

from mmssr_jax.core import files
from mmssr_jax.core.sample import ImageRef, Sample


@dataclasses.dataclass(frozen=True)
class Item:
    """One selected sample.

    Attributes:
      sample: id, source, turns and images.
      record: the unchanged LLaVA JSON object that it was parsed from.
    """

    sample: Sample
    record: bytes

    @property
    def value(self) -> dict[str, Any]:
        """The parsed record."""
        return json.loads(self.record)

    @property
    def conversations(self) -> list[dict[str, str]]:
        """The turns in LLaVA's form; a system prompt is the first."""
        turns = [{"from": "human" if t.role == "user" else "gpt", "value": t.text} for t in self.sample.turns]
        system = self.sample.system
        return turns if system is None else [{"from": "system", "value": system}, *turns]


_HEAD = 16  # bytes that tell the format of an image
_MAX_NAME = 240  # bytes of a file name; file systems allow 255, and a suffix follows


def file_name(name: str, *, dots: bool = True) -> str:
    """A file name for any string: letters, digits, '_', '-' and '.' stay, the rest is percent-encoded UTF-8.

    A longer one than 240 bytes is cut and ends with "~" and a hash of the whole string.

    Args:
      name: an id or the name of a source, such as "coco/train2017".
      dots: keep dots, except at the start; otherwise they are encoded too.
    """
    quoted = urllib.parse.quote(name, safe="").replace("~", "%7E")
    if not dots:
        quoted = quoted.replace(".", "%2E")
    elif quoted.startswith("."):
        quoted = "%2E" + quoted[1:]
    if len(quoted) <= _MAX_NAME:
        return quoted
    digest = files.digest(name)
    start = quoted[: _MAX_NAME - len(digest) - 1]
    return f"{re.sub('%.?$', '', start)}~{digest}"  # no half of a percent-encoded byte


def suffix_of(image: ImageRef) -> str:
    """`image_suffix` of an image, of whose file only the first bytes are read."""
    if type(image) is ImageRef and image.path is not None:
        with open(image.path, "rb") as file:
            return image_suffix(file.read(_HEAD))
    return image_suffix(image.read())


def image_suffix(data: bytes) -> str:
    """The usual file suffix of an encoded image, by its first bytes; "bin" if unknown."""
    if data[:3] == b"\xff\xd8\xff":
        return "jpg"
    if data[:8] == b"\x89PNG\r\n\x1a\n":
        return "png"
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "webp"
    if data[:6] in (b"GIF87a", b"GIF89a"):
        return "gif"
    if data[:2] == b"BM":
        return "bmp"
    if data[:4] in (b"II*\x00", b"MM\x00*"):
        return "tiff"
    return "bin"
