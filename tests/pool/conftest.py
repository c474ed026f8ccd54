"""A small foreign pool on disk."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from mmssr_jax.core.artifact import Artifact
from mmssr_jax.pool.config import IngestConfig
from mmssr_jax.pool.pool import Pool, open_pool
from mmssr_jax.pool.readers.llava_json import LlavaJson
from mmssr_jax.pool.writer import write_pool

Record = dict[str, Any]


def encoded(seed: int, *, size: tuple[int, int] = (24, 16), format: str = "JPEG") -> bytes:
    """A noisy image."""
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format)
    return buffer.getvalue()


def record(id: str, images: tuple[str, ...] = (), **fields: Any) -> Record:
    """A record in order, but for `fields`."""
    turns = [
        {"from": "human", "value": "<image>\n" * len(images) + f"What is {id}?"},
        {"from": "gpt", "value": "Café."},
    ]
    image = {"image": images[0] if len(images) == 1 else list(images)} if images else {}
    return {"id": id, **image, "conversations": turns, "source": "s", **fields}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with images/0.jpg to images/3.jpg."""
    (tmp_path / "images").mkdir()
    for i in range(4):
        (tmp_path / "images" / f"{i}.jpg").write_bytes(encoded(i))
    return tmp_path


@pytest.fixture
def good_records() -> list[Record]:
    """Text only, one image, several images, the other spelling of turns."""
    other = [{"role": "user", "content": "Is it?\n<image>"}, {"role": "assistant", "content": "No\0."}]
    return [
        record("text"),
        record("one", ("images/0.jpg",)),
        record("several", ("images/1.jpg", "images/2.jpg"), source="t"),
        record("null", image=None),
        record("other", ("images/3.jpg",), conversations=other, extra={"kept": [1, 2.5]}),
    ]


@pytest.fixture
def make_pool(folder: Path) -> Callable[..., Pool]:
    """Takes records in: `make_pool(records, name="pool", packed=False, intake=Intake())`."""

    def make(
        records: list[Record], *, name: str = "pool", packed: bool = False, config: IngestConfig | None = None
    ) -> Pool:
        path = folder / f"{name}.json"
        path.write_text(json.dumps(records, ensure_ascii=False), encoding="utf-8")
        artifact = Artifact(folder / name, stage="ingest", settings={"packed": packed})
        write_pool(artifact, LlavaJson(path), config or IngestConfig(), packed=packed)
        return open_pool(folder / name)

    return make
