"""Does the scorer look at the picture? The same texts with blank and with other samples' pictures."""

from __future__ import annotations

import dataclasses
import io
from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image

from mmssr_jax.core.sample import ImageRef, Sample
from mmssr_jax.scoring.ensemble import ScorerEnsemble
from mmssr_jax.scoring.quality import Counterfactual
from mmssr_jax.scoring.score_pool import Failed, questions

_BLANK_SIDE = 64


def blank_image() -> ImageRef:
    """A uniform mid-grey picture."""
    buffer = io.BytesIO()
    Image.new("RGB", (_BLANK_SIDE, _BLANK_SIDE), (128, 128, 128)).save(buffer, "PNG")
    return ImageRef(data=buffer.getvalue())


def blanked(sample: Sample) -> Sample:
    """The sample with every picture blank."""
    blank = blank_image()
    return dataclasses.replace(sample, images=tuple(blank for _ in sample.images))


def score_samples(samples: Sequence[Sample], panel: ScorerEnsemble, *, max_pixels: int) -> np.ndarray:
    """Scores of samples that are known to be readable: float32 [n, capabilities].

    Raises:
      ValueError: one of them is not.
    """

    rating = panel.start(len(samples))
    for item in questions(samples, panel, max_pixels=max_pixels):
        if isinstance(item, Failed):
            raise ValueError(f"sample {item.sample.id}: {item.detail}")
        rating.add(item[1])
    return rating.finish().scores


def counterfactual(
    samples: Sequence[Sample], asked: np.ndarray, panel: ScorerEnsemble, *, seed: int, max_pixels: int
) -> Counterfactual:
    """Scores every sample with its own picture, and with a blank one (even numbers) or a swapped one (odd numbers).

    A swapped picture is that of another of the samples, drawn with `seed` among those with as many pictures.

    Args:
      samples: each has a picture.
      asked: bool [samples, capabilities], see `Counterfactual`.
      panel: the models.
      seed: of the draw.
      max_pixels: for decoding.
    """
    rng = np.random.default_rng(seed)
    altered, kinds = [], []
    for n, sample in enumerate(samples):
        others = [s for s in samples if len(s.images) == len(sample.images) and _pictures(s) != _pictures(sample)]
        if n % 2 and others:
            other = others[int(rng.integers(len(others)))]
            altered.append(dataclasses.replace(sample, images=other.images))
            kinds.append("swapped")
        else:
            altered.append(blanked(sample))
            kinds.append("blank")
    right = score_samples(samples, panel, max_pixels=max_pixels)
    return Counterfactual(right, score_samples(altered, panel, max_pixels=max_pixels), kinds, asked)


def _pictures(sample: Sample) -> tuple[Any, ...]:
    return tuple(ref.path or ref.data for ref in sample.images)
