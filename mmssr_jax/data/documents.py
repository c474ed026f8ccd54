r"""Running text with pictures, as pre-training takes it: interleaved documents, plain texts, pictures with captions.

A JSONL file, one document a line, its parts in reading order; pictures are relative to the file's folder (or another):

    {"id": "d1", "parts": [{"text": "A red circle.\n"}, {"image": "a.png"}, {"text": "\nIt stands at the top."}]}
    {"id": "d2", "text": "Plain text."}
"""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np

from mmssr_jax.core.errors import UserError
from mmssr_jax.core.sample import IMAGE_TAG, ImageRef, Sample, Turn
from mmssr_jax.data.chat import pictures, sequence_example, text_and_images
from mmssr_jax.data.example import Example, Segment
from mmssr_jax.data.tokenizer import Tokenizer


@dataclasses.dataclass(frozen=True)
class Document(Sample):
    """A text without roles: one turn, all of whose words are trained; `<image>` tags stand where pictures are."""

    @property
    def text(self) -> str:
        return self.turns[0].text


def make_document(id: str, source: str, text: str, images: tuple[ImageRef, ...] = ()) -> Document:
    """A document; as many pictures as tags in `text`."""
    return Document(id, source, (Turn("assistant", text),), images)


class Documents:
    """The documents of a JSONL file, read by random access; picklable.

    Attributes:
      ids: of all documents, str [n]; "<file>:<line>" where a line has none.

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

    def __getitem__(self, number: int) -> Document:
        """Document `number`.

        Raises:
          ValueError: its line is not of the form above.
        """
        offset, length = self._spans[number]
        with self._path.open("rb") as file:
            file.seek(offset)
            value = json.loads(file.read(length))
        text, images = _joined(value)
        refs = tuple(ImageRef(path=self._images / name) for name in images)
        return make_document(str(self.ids[number]), str(value.get("source", self._source)), text, refs)


def _joined(value: Any) -> tuple[str, list[str]]:
    """A line's text, with tags for its pictures, and their names."""
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
    """A pool's conversations as documents: the pictures, then what the assistant says of them; questions are dropped.

    Image-caption pairs of pre-training, whatever form they were kept in.
    """

    samples: Any

    @property
    def ids(self) -> np.ndarray:
        return self.samples.ids

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, number: int) -> Document:
        sample: Sample = self.samples[number]
        told = "\n".join(t.text.replace(IMAGE_TAG, "") for t in sample.turns if t.role == "assistant")
        text = f"{IMAGE_TAG}\n" * len(sample.images) + told
        return make_document(sample.id, sample.source, text, sample.images)


def encode_document(
    document: Document,
    tokenizer: Tokenizer,
    pixels: np.ndarray,
    *,
    tokens_per_image: int,
    max_length: int,
    newline: bool = True,
) -> Example:
    """A training sequence: every word but the first token is a target, pictures are not; `<|endoftext|>` ends it.

    Arguments and errors are as in `chat.encode_chat`.
    """
    images = pictures(document, tokenizer, tokens_per_image=tokens_per_image, newline=newline)
    pieces = text_and_images(document.text, tokenizer, images)
    pieces.append(Segment([tokenizer.pad]))
    loss_mask = [dataclasses.replace(p, loss_mask=p.slots is None) for p in pieces]
    return sequence_example(loss_mask, pixels, max_length=max_length)


@dataclasses.dataclass(frozen=True)
class Subset:
    """Some rows of a sequence of samples, in the order given; nothing is copied."""

    samples: Any
    rows: np.ndarray

    @property
    def ids(self) -> np.ndarray:
        return np.asarray(self.samples.ids, object)[self.rows]

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, number: int) -> Any:
        return self.samples[int(self.rows[number])]
