"""Corruptions of a sample. Their effect on the true scores follows the caps of the rubric."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from PIL import Image, ImageFilter

from mmssr_jax.core.vocabulary import CAPABILITIES
from mmssr_jax.synthetic.canvas import COLOURS, SIZE, TINTS
from mmssr_jax.synthetic.scene import chance, pick

WRONG, BLANK, BLURRED, MISMATCHED, TRIVIAL, GARBLED = (
    "wrong_answer", "blank_image", "blurred_image", "mismatched_image", "trivial_text", "garbled_text",
)  # fmt: skip
CORRUPTIONS = (WRONG, BLANK, BLURRED, MISMATCHED, TRIVIAL, GARBLED)
SAMPLED = (*CORRUPTIONS, MISMATCHED)  # twice as likely: mismatched images are the most common defect of web data
WITHOUT_IMAGE = (WRONG, TRIVIAL, GARBLED)
_UNUSABLE_IMAGE = (BLANK, BLURRED, MISMATCHED)
_SEEING = frozenset(c.slug for c in CAPABILITIES if c.seeing)
_TRIVIAL = ("ok", "image", "yes ok", "fine", "-", "thanks", "...", "see image", "hm", "it is")
_NOISE = "#%&@~^|<>{}[]$*0379xqzwjk"


def cap_scores(scores: Mapping[str, int], corruption: str) -> dict[str, int]:
    """The scores of a corrupted sample: at most 1, and 0 for visual capabilities if the image is unusable."""
    if not corruption:
        return dict(scores)
    return {
        slug: 0 if corruption in _UNUSABLE_IMAGE and slug in _SEEING else min(1, score)
        for slug, score in scores.items()
    }


def blank(rng: np.random.Generator) -> Image.Image:
    """An empty page, one colour, or coarse noise."""
    form = int(rng.integers(3))
    if form == 2:
        noise = rng.integers(0, 256, (SIZE // 8, SIZE // 8, 3), dtype=np.uint8)
        return Image.fromarray(noise).resize((SIZE, SIZE), Image.Resampling.NEAREST)
    return Image.new("RGB", (SIZE, SIZE), pick(rng, TINTS) if form == 0 else pick(rng, list(COLOURS.values())))


def blurred(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """The image blurred until only vague blobs remain."""
    small = image.resize((SIZE // 8, SIZE // 8), Image.Resampling.BOX)
    small = small.filter(ImageFilter.GaussianBlur(float(rng.uniform(4.5, 6.0))))
    small = Image.blend(small, Image.new("RGB", small.size, (150, 150, 152)), float(rng.uniform(0.45, 0.6)))
    return small.resize((SIZE, SIZE), Image.Resampling.BICUBIC)


def trivial(rng: np.random.Generator) -> str:
    """An answer that says nothing."""
    return pick(rng, _TRIVIAL)


def garbled(text: str, rng: np.random.Generator) -> str:
    """The text with most characters replaced, at least eight long."""
    base: Sequence[str] = text[:120].ljust(8, " ")
    return "".join(pick(rng, _NOISE) if chance(rng, 0.6) else c for c in base).strip() or "#%&@"
