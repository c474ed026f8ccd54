"""Image-text matching: what is said to fit is true, what is not is another picture's caption."""

from __future__ import annotations

import collections
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mmssr_jax.synthetic.generate import POOL
from mmssr_jax.synthetic.matching.pairs import draw_rounds, write_matching
from mmssr_jax.synthetic.matching.pictures import FAMILIES


def test_a_caption_fits_exactly_if_it_is_told_to_fit():
    answers: collections.Counter[str] = collections.Counter()
    for seed in range(150):
        picture, rounds = draw_rounds(np.random.default_rng(seed))
        for question, answer in rounds:
            if answer in ("yes", "no"):
                fits = any(question.startswith(f"{phrase} ") for phrase in picture.phrases.values())
                assert fits == (answer == "yes"), (question, picture.phrases)
            else:
                assert answer in picture.phrases.values()
            answers[answer] += 1
    assert answers["yes"] > 150
    assert answers["no"] > 150


@pytest.mark.parametrize("family", tuple(FAMILIES))
def test_a_family_draws_different_pictures_in_many_resolutions(family: str):
    drawn = []
    for seed in range(12):
        rng = np.random.default_rng(seed)
        drawn.append(FAMILIES[family](rng).image(rng))
    assert len({image.tobytes() for image in drawn}) == 12
    assert all(image.mode == "RGB" and image.width == image.height for image in drawn)
    assert family == "tiles" or len({image.size for image in drawn}) > 5


def test_the_files(tmp_path: Path):
    write_matching(tmp_path / "a", size=6, seed=2)
    write_matching(tmp_path / "b", size=6, seed=2)
    records = json.loads((tmp_path / "a" / POOL).read_text())
    assert (tmp_path / "a" / POOL).read_bytes() == (tmp_path / "b" / POOL).read_bytes()
    assert [Image.open(tmp_path / "a" / r["image"]).mode for r in records] == ["RGB"] * 6
