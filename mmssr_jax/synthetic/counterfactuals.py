"""Counterfactual pairs that differ only in the image: they test whether a scorer uses it."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path

from mmssr_jax.synthetic import corruptions
from mmssr_jax.synthetic.generate import GeneratedSample, SyntheticConfig, image_names, make, record, write_samples

CORRUPTIONS_OF_PAIRS = (corruptions.BLANK, corruptions.MISMATCHED, corruptions.BLURRED)


def write_counterfactuals(folder: Path, config: SyntheticConfig, *, pairs: int) -> None:
    """Writes a pool of `2 * pairs` samples with their truth, in pairs: `<id>-right`, then `<id>-<corruption>`.

    Both have the same conversation. The image of the second is blank, swapped or blurred, cyclically, so its visual
    capabilities are 0. The indices start at `config.size`: no sample is in the pool of `config`.
    """
    write_samples(folder, _pairs(config, pairs), total=2 * pairs, label="counterfactual pairs")


def _pairs(config: SyntheticConfig, pairs: int) -> Iterator[GeneratedSample]:
    index, done = config.size, 0
    while done < pairs:
        right = make(config, index, corruption="")
        if right.images and not right.truth["near_repeat_of"]:
            change = CORRUPTIONS_OF_PAIRS[done % len(CORRUPTIONS_OF_PAIRS)]
            yield _named(right, "right")
            yield _named(make(config, index, corruption=change), change)
            done += 1
        index += 1


def _named(sample: GeneratedSample, suffix: str) -> GeneratedSample:
    name = f"{sample.truth['id']}-{suffix}"
    images = image_names(name, list(sample.images.values()))
    turns = sample.record["conversations"]
    new = {**record(name, sample.truth["source"], list(images), []), "conversations": turns}
    return dataclasses.replace(sample, record=new, images=images, truth={**sample.truth, "id": name})
