"""The contact sheet."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from mmssr_jax.synthetic.contact_sheet import contact_sheet
from mmssr_jax.synthetic.generate import POOL, SyntheticConfig, write_pool


def test_the_sheet_shows_the_images_in_order(tmp_path: Path) -> None:
    write_pool(tmp_path, SyntheticConfig(size=12, seed=2, flaw_share=0.0))
    ids = [r["id"] for r in json.loads((tmp_path / POOL).read_text())]
    sheet = contact_sheet(tmp_path, ids[:7])
    first = contact_sheet(tmp_path, ids[:1])
    assert sheet.width == first.width
    assert sheet.height == 2 * first.height
    cell = first.width // 5
    a, b = np.asarray(sheet)[: first.height, :cell], np.asarray(first)[:, :cell]
    assert np.array_equal(a, b)
    assert (np.asarray(contact_sheet(tmp_path, ids[1:2]))[:, :cell] != b).any()
