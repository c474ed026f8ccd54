r"""Text with images for pre-training: interleaved documents, plain text, images with captions.

A JSONL file has one document per line, its parts in reading order; image paths are relative to the file's folder, or to
a given one:

    {"id": "d1", "parts": [{"text": "A red circle.\n"}, {"image": "a.png"}, {"text": "\nIt stands at the top."}]}
    {"id": "d2", "text": "Plain text."}
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from mmssr_jax.core.errors import UserError
from mmssr_jax.core.sample import IMAGE_TAG, ImageRef, Sample, Turn
from mmssr_jax.data.chat import text_and_images
from mmssr_jax.data.example import Segment
from mmssr_jax.data.subset import SampleSource
from mmssr_jax.data.tokenizer import Tokenizer


@dataclasses.dataclass(frozen=True)
class Document(Sample):
    """A text without roles: one turn with an `<image>` tag for each image; all of its text is trained."""

    @property
    def text(self) -> str:
        return self.turns[0].text


def make_document(id: str, source: str, text: str, images: tuple[ImageRef, ...] = ()) -> Document:
    """A document; `text` has as many tags as there are images."""
    return Document(id, source, (Turn("assistant", text),), images)


class Documents:
    """Random access to the documents of a JSONL file; picklable.

    Attributes:
      ids: str objects [N]; "<file>:<line>" for a line without one.

    Raises:
      UserError: the file is missing or empty.
    """

    def __init__(self, path: Path, images: Path | None = None, *, source: str = "documents"):
        self._path, self._images, self._source = path, images or path.parent, source
        try:
            lines = path.read_bytes().split(b"\n")
        except OSError as e:
            raise UserError(f"{path}: {e.strerror}") from None
        ends = np.cumsum([len(line) + 1 for line in lines])
        self._spans = [(int(e) - len(x) - 1, len(x)) for x, e in zip(lines, ends, strict=True) if x.strip()]
        if not self._spans:
            raise UserError(f"{path}: holds no document")
        self.ids = np.array([self._id(n, x) for n, x in enumerate(x for x in lines if x.strip())], object)

    def _id(self, number: int, line: bytes) -> str:
        try:
            return str(json.loads(line)["id"])
        except (ValueError, KeyError, TypeError):
            return f"{self._path.name}:{number + 1}"

    def __len__(self) -> int:
        return len(self._spans)

    def __getitem__(self, index: int, /) -> Document:
        """Document number `index`.

        Raises:
          ValueError: its line does not have the form above.
        """
        offset, length = self._spans[index]
        with self._path.open("rb") as file:
            file.seek(offset)
            value = json.loads(file.read(length))
        text, images = _join_parts(value)
        refs = tuple(ImageRef(path=self._images / name) for name in images)
        return make_document(str(self.ids[index]), str(value.get("source", self._source)), text, refs)


def _join_parts(value: Any) -> tuple[str, list[str]]:
    """The text of a line, with a tag for each image, and the images' paths."""
    parts = value.get("parts", [{"text": value.get("text")}]) if isinstance(value, dict) else None
    if not isinstance(parts, list):
        raise ValueError('a document is {"parts": [...]} or {"text": "..."}')
    text, images = "", []
    for part in parts:
        if not isinstance(part, dict) or not isinstance(part.get("text", part.get("image")), str):
            raise ValueError('a part is {"text": "..."} or {"image": "file"}')
        if "text" in part:
            if IMAGE_TAG in part["text"]:
                raise ValueError(f"a text part holds the tag {IMAGE_TAG}")
            text += part["text"]
        else:
            text += IMAGE_TAG
            images.append(part["image"])
    return text, images


@dataclasses.dataclass(frozen=True)
class Captions:
    """Conversations as documents: the images, then the assistant's texts; the user's texts are dropped.

    Makes image-caption pairs for pre-training out of any pool.
    """

    samples: SampleSource

    @property
    def ids(self) -> np.ndarray:
        """str objects [N]."""
        return self.samples.ids

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int, /) -> Document:
        sample = self.samples[index]
        caption = "\n".join(t.text.replace(IMAGE_TAG, "") for t in sample.turns if t.role == "assistant")
        text = f"{IMAGE_TAG}\n" * len(sample.images) + caption
        return make_document(sample.id, sample.source, text, sample.images)


def document_segments(document: Sample, tokenizer: Tokenizer, images: Iterator[Segment]) -> list[Segment]:
    """The segments of a document, with `loss_mask` on its text and on the `<|endoftext|>` that ends it.

    Args:
      document: one turn, with as many tags as there are images.
      tokenizer: for the text.
      images: the segments of the images, in order.

    Raises:
      ValueError: there are more tags than images.
    """
    segments = [*text_and_images(document.turns[0].text, tokenizer, images), Segment([tokenizer.pad])]
    return [dataclasses.replace(s, loss_mask=s.slots is None) for s in segments]
