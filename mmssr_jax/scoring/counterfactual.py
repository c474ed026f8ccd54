"""Tests whether a scorer uses the image: scores of the same texts with blank images and with other samples' images."""

from __future__ import annotations

import dataclasses
import io
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from PIL import Image

from mmssr_jax.core.sample import ImageRef, Sample
from mmssr_jax.data.example import Example
from mmssr_jax.scoring.ensemble import ScorerEnsemble
from mmssr_jax.scoring.score_pool import RejectedSample, read_prompts
from mmssr_jax.scoring.scorer import ScorerOutput

_BLANK_SIDE = 64


def blank_image() -> ImageRef:
    """A uniform mid-grey image."""
    buffer = io.BytesIO()
    Image.new("RGB", (_BLANK_SIDE, _BLANK_SIDE), (128, 128, 128)).save(buffer, "PNG")
    return ImageRef(data=buffer.getvalue())


def with_blank_images(sample: Sample) -> Sample:
    """The sample with every image replaced by a blank one."""
    blank = blank_image()
    # Frames of a video stay such.
    images = tuple(dataclasses.replace(blank, clip=ref.clip, time=ref.seconds()) for ref in sample.images)
    return dataclasses.replace(sample, images=images)


def score_samples(samples: Sequence[Sample], ensemble: ScorerEnsemble) -> ScorerOutput:
    """The output for n samples that are all expected to be readable.

    Raises:
      ValueError: a sample is rejected.
    """

    def prompts() -> Iterator[tuple[Example, ...]]:
        for item in read_prompts(samples, ensemble):
            if isinstance(item, RejectedSample):
                raise ValueError(f"sample {item.sample.id}: {item.detail}")
            yield item[1]

    return ensemble.score(prompts())


def with_altered_images(samples: Sequence[Sample], *, seed: int) -> tuple[list[Sample], list[str]]:
    """Every sample with an altered image, and how each was altered: "blank" for even indices, "swapped" for odd ones.

    A swapped image comes from another of the samples, sampled among those with the same number of images.

    Args:
      samples: with at least one image each.
      seed: seed of the sampling.
    """
    rng = np.random.default_rng(seed)
    altered, kinds = [], []
    for n, sample in enumerate(samples):
        others = [s for s in samples if len(s.images) == len(sample.images) and _image_key(s) != _image_key(sample)]
        if n % 2 and others:
            other = others[int(rng.integers(len(others)))]
            altered.append(dataclasses.replace(sample, images=other.images))
            kinds.append("swapped")
        else:
            altered.append(with_blank_images(sample))
            kinds.append("blank")
    return altered, kinds


def _image_key(sample: Sample) -> tuple[Any, ...]:
    return tuple(ref.path or ref.data for ref in sample.images)
