"""Small benchmark files for the tests."""

from __future__ import annotations

import base64
import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from PIL import Image

from mmssr_jax.evaluation.benchmark import Question


def png(size: tuple[int, int] = (40, 30), colour: tuple[int, int, int] = (200, 10, 10)) -> bytes:
    """A plain image, noisy enough in its last row for more than 64 base64 characters."""
    image = Image.new("RGB", size, colour)
    for x in range(size[0]):
        image.putpixel((x, size[1] - 1), (x % 256, (7 * x) % 256, (13 * x) % 256))
    buffer = io.BytesIO()
    image.save(buffer, format="PNG")
    return buffer.getvalue()


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def write_tsv(path: Path, rows: Sequence[Mapping[str, str]]) -> Path:
    """Writes rows whose columns are those of the first."""
    with open(path, "w", encoding="utf-8", newline="") as f:
        writer = csv.DictWriter(f, list(rows[0]), delimiter="\t", restval="")
        writer.writeheader()
        writer.writerows(rows)
    return path


class FakePredictor:
    """Answers by index and records the questions; is interrupted after `limit` answers."""

    def __init__(self, replies: Mapping[str, str], limit: int | None = None):
        self.replies, self.limit = replies, limit
        self.asked: list[Question] = []
        self.max_new_tokens: list[int] = []

    def predict(self, questions: Sequence[Question], *, max_new_tokens: int) -> Iterator[str]:
        self.max_new_tokens.append(max_new_tokens)
        for question in questions:
            if self.limit is not None and len(self.asked) >= self.limit:
                raise KeyboardInterrupt
            self.asked.append(question)
            yield self.replies[question.index]
