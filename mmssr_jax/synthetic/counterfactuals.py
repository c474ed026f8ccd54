"""Pairs that differ in the picture alone: does a scorer look at it?"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path

from mmssr_jax.synthetic import corruptions
from mmssr_jax.synthetic.generate import Made, SyntheticConfig, image_names, make, record, write_samples

CHANGES = (corruptions.BLANK, corruptions.MISMATCHED, corruptions.BLURRED)


def write_counterfactuals(folder: Path, config: SyntheticConfig, *, pairs: int) -> None:
    """Writes a pool of `2 * pairs` samples with their truth, in pairs: `<id>-right`, then `<id>-<change>`.

    Both have the same conversation. The second one's picture is blanked, swapped or blurred in turn (CHANGES), so its
    seeing capabilities are 0. The samples follow those of the pool of `config`, which does not hold them.
    """
    write_samples(folder, _pairs(config, pairs), total=2 * pairs, label="counterfactual pairs")


def _pairs(config: SyntheticConfig, pairs: int) -> Iterator[Made]:
    index, done = config.size, 0
    while done < pairs:
        right = make(config, index, flaw="")
        if right.images and not right.truth["near_repeat_of"]:
            change = CHANGES[done % len(CHANGES)]
            yield _named(right, "right")
            yield _named(make(config, index, flaw=change), change)
            done += 1
        index += 1


def _named(made: Made, suffix: str) -> Made:
    name = f"{made.truth['id']}-{suffix}"
    images = image_names(name, list(made.images.values()))
    turns = made.record["conversations"]
    new = {**record(name, made.truth["source"], list(images), []), "conversations": turns}
    return dataclasses.replace(made, record=new, images=images, truth={**made.truth, "id": name})
