"""Corruptions and their effect on the true scores."""

from __future__ import annotations

import numpy as np
import pytest

from mmssr_jax.synthetic import corruptions
from mmssr_jax.synthetic.scenes import IMAGE_SCENES

_SCORES = {"optical_character_recognition": 4, "logical_deduction": 3, "humanities": 1, "scene_understanding": 0}


@pytest.mark.parametrize("corruption", [corruptions.WRONG, corruptions.TRIVIAL, corruptions.GARBLED])
def test_a_bad_text_caps_every_score_at_1(corruption: str) -> None:
    assert list(corruptions.cap_scores(_SCORES, corruption).values()) == [1, 1, 1, 0]


@pytest.mark.parametrize("corruption", [corruptions.BLANK, corruptions.BLURRED, corruptions.MISMATCHED])
def test_a_bad_image_also_ends_seeing(corruption: str) -> None:
    assert list(corruptions.cap_scores(_SCORES, corruption).values()) == [0, 1, 1, 0]


def test_no_corruption_changes_nothing() -> None:
    assert corruptions.cap_scores(_SCORES, "") == _SCORES


def test_blurred_images_keep_no_detail() -> None:
    rng = np.random.default_rng(0)
    for kind in IMAGE_SCENES.values():
        image = kind(rng, rng, 1).images[0]
        pixels = np.asarray(corruptions.blurred(image, rng)).astype(int)
        steps = max(np.abs(np.diff(pixels, axis=0)).max(), np.abs(np.diff(pixels, axis=1)).max())
        assert steps <= 3


def test_blank_images_are_uniform_or_noise() -> None:
    rng = np.random.default_rng(0)
    forms = {len(corruptions.blank(rng).getcolors(70000)) > 1 for _ in range(30)}
    assert forms == {True, False}


def test_garbled_text_differs_and_is_not_empty() -> None:
    rng = np.random.default_rng(0)
    for text in ("A", "yes", "A bar chart with three bars.", "x" * 400):
        made = corruptions.garbled(text, rng)
        assert made
        assert made != text
        assert len(made) <= 120
