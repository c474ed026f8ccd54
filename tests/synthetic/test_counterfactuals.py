"""Pairs that differ in the image alone."""

from __future__ import annotations

import json
from pathlib import Path

from mmssr_jax.core import files
from mmssr_jax.core.vocabulary import CAPABILITIES
from mmssr_jax.synthetic.counterfactuals import CORRUPTIONS_OF_PAIRS, write_counterfactuals
from mmssr_jax.synthetic.generate import POOL, TRUTH, SyntheticConfig


def test_pairs_share_their_text_and_not_their_image(tmp_path: Path) -> None:
    write_counterfactuals(tmp_path, SyntheticConfig(size=100), pairs=9)
    records = json.loads((tmp_path / POOL).read_text())
    truth = files.read_parquet(tmp_path / TRUTH).to_pylist()
    assert len(records) == len(truth) == 18
    seeing = [c.slug for c in CAPABILITIES if c.seeing]
    for i in range(9):
        (right, changed), (good, bad) = records[2 * i : 2 * i + 2], truth[2 * i : 2 * i + 2]
        assert right["conversations"] == changed["conversations"]
        assert right["id"].removesuffix("-right") == changed["id"].removesuffix(f"-{CORRUPTIONS_OF_PAIRS[i % 3]}")
        assert (right["id"], changed["id"]) == (good["id"], bad["id"])
        assert (good["flaw"], bad["flaw"]) == ("", CORRUPTIONS_OF_PAIRS[i % 3])
        assert any(good[s] for s in seeing)
        assert not any(bad[s] for s in seeing)
        assert int(right["id"][1:7]) >= 100
        names = [[r["image"]] if isinstance(r["image"], str) else r["image"] for r in (right, changed)]
        assert [(tmp_path / n).read_bytes() for n in names[0]] != [(tmp_path / n).read_bytes() for n in names[1]]
