"""Fixed shapes on real images: how much of the rows of blocks is padding, from the images' sizes alone."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

from mmssr_jax.images.image_blocks import block_room
from mmssr_jax.images.native import native_size

BLOCK, PIXELS = 32, (65_536, 1_048_576)  # at most 1024 tokens an image
ROW = 2048  # blocks of a packed row
BINS = 16


@pytest.fixture(scope="module")
def blocks(shared) -> list[int]:
    """Blocks of each sample of the pool."""
    pool = shared / "pool"
    if not (pool / "pool.json").exists():
        pytest.skip(f"{pool} is not there")
    counts = []
    for record in json.loads((pool / "pool.json").read_text(encoding="utf-8")):
        names = record.get("images") or record.get("image") or []
        total = 0
        for name in [names] if isinstance(names, str) else names:
            with Image.open(pool / "images" / name if not (pool / name).exists() else pool / name) as image:
                height, width = native_size(image.height, image.width, block=BLOCK, pixels=PIXELS)
            total += height * width // BLOCK**2
        counts.append(total)
    return counts


def test_rows_of_scoring_have_little_padding(blocks):
    """One sample a row, padded to a size of `block_room`."""
    used = [n for n in blocks if n]
    rooms = [block_room(n) for n in used]
    padding = 1 - sum(used) / sum(rooms)
    print(f"scoring: {len(used)} samples, {len(set(rooms))} sizes of rows, {padding:.1%} padding")
    assert padding < 0.15
    assert len(set(rooms)) <= 13


def test_packed_rows_have_little_padding(blocks):
    """First fit into rows of a fixed number of blocks, as the training pipeline packs."""
    order = np.random.default_rng(0).permutation(len(blocks))
    bins, done = [0] * BINS, []
    for n in (blocks[i] for i in order if 0 < blocks[i] <= ROW):
        at = next((k for k, filled in enumerate(bins) if filled + n <= ROW), None)
        if at is None:
            done += bins
            bins, at = [0] * BINS, 0
        bins[at] += n
    padding = 1 - sum(done) / (ROW * len(done))
    print(f"training: {len(done)} rows of {ROW} blocks, {padding:.1%} padding")
    assert padding < 0.15
