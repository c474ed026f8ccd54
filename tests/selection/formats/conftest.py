"""Three samples with no picture, one and two."""

from __future__ import annotations

import io
import json

import pytest
from PIL import Image

from mmssr_jax.core.sample import ImageRef, Sample, Turn
from mmssr_jax.selection.item import Item


def picture(colour: str, kind: str) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (4, 3), colour).save(out, kind)
    return out.getvalue()


def make_item(id: str, source: str, *pictures: bytes) -> Item:
    record = {"id": id, "conversations": [{"from": "human", "value": f"ü {id}?"}, {"from": "gpt", "value": "yes"}]}
    turns = (Turn("user", f"ü {id}?"), Turn("assistant", "yes"))
    sample = Sample(id, source, turns, tuple(ImageRef(data=p) for p in pictures))
    return Item(sample, json.dumps(record, ensure_ascii=False).encode())


@pytest.fixture
def items() -> list[Item]:
    red, blue = picture("red", "JPEG"), picture("blue", "PNG")
    return [
        make_item("text/only.1", "chat"),
        make_item("one", "coco/train(2017)", red),
        make_item("zwei ü", "coco/train(2017)", blue, red),
        make_item("last", "chart", picture("green", "WEBP")),
    ]
