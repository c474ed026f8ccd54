"""Caption data."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from PIL import Image

from mmssr_jax.synthetic.caption_pool import write_captions
from mmssr_jax.synthetic.generate import POOL


def test_captions_describe_their_images(tmp_path: Path) -> None:
    write_captions(tmp_path, size=120, seed=1)
    records = json.loads((tmp_path / POOL).read_text())
    assert len({r["id"] for r in records}) == 120
    unseen = 0
    for record in records:
        names = [record["image"]] if isinstance(record["image"], str) else record["image"]
        turns = [t["value"] for t in record["conversations"]]
        assert turns[0].count("<image>") == len(names)
        assert all(turns)
        if "blank" in turns[1] or "blurred" in turns[1]:
            unseen += 1
            pixels = np.asarray(Image.open(tmp_path / names[0])).astype(int)
            flat = np.abs(np.diff(pixels, axis=1)).max() <= 3
            noise = pixels.std() > 60
            assert flat or ("blank" in turns[1] and noise)
    assert 1 <= unseen <= 20
    text = " ".join(t["value"] for r in records for t in r["conversations"]).lower()
    for word in ("chart", "sign", "red", "left", "yes", "leaf", "flag", "person"):
        assert word in text


def test_captions_are_repeatable_and_seeded(tmp_path: Path) -> None:
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        write_captions(tmp_path / name, size=6, seed=seed)
    a, b, c = ((tmp_path / n / POOL).read_bytes() for n in "abc")
    assert a == b
    assert a != c
