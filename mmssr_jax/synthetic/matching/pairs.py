"""Pre-training data of the scorer's base model: image-text matching and descriptions of varied simple pictures.

The texts that do not fit are captions of other pictures of the same family in the same wording. Nothing else is wrong
in this data: it holds no flaw of the pools.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from mmssr_jax.core.progress import Progress
from mmssr_jax.synthetic.canvas import encode
from mmssr_jax.synthetic.generate import IMAGES, POOL, image_names, record, write_records
from mmssr_jax.synthetic.matching.pictures import FAMILIES, Picture
from mmssr_jax.synthetic.scene import chance, pick, several

_STREAM, _TRIES = 61, 20
_WEIGHTS = {"things": 3.0, "counted": 1.0, "written": 2.0, "bars": 1.0, "tiles": 4.0}
_ROUNDS = 3  # captions of a picture
_ASK = ("{} Does it fit?", "{} Right or wrong?", "{} Is it so?")
_DESCRIBE = ("Describe the picture.", "What does the picture show?", "Tell me what you see.", "Name or say all of it.")


def write_matching(folder: Path, *, size: int, seed: int) -> None:
    """Writes a LLaVA-style pool of `size` pictures, each with captions that fit or not, half then described."""
    records = []
    (folder / IMAGES).mkdir(parents=True, exist_ok=True)
    for index in Progress("image-text matching", size).over(range(size)):
        rng = np.random.default_rng((seed, index, _STREAM))
        picture, rounds = draw_rounds(rng)
        images = image_names(f"m{index:06d}", [picture.image(rng)])
        for file, image in images.items():
            (folder / file).write_bytes(encode(image))
        records.append(record(f"m{index:06d}", picture.family, list(images), rounds))
    write_records(folder / POOL, records)


def draw_rounds(rng: np.random.Generator) -> tuple[Picture, list[tuple[str, str]]]:
    """A picture and its conversation: whether some captions fit, and then perhaps its description."""
    weights = np.array([_WEIGHTS[name] for name in FAMILIES])
    family = tuple(FAMILIES)[int(rng.choice(len(weights), p=weights / weights.sum()))]
    picture = FAMILIES[family](rng)
    rounds = [_match(picture, form, rng) for form in several(rng, tuple(picture.phrases), _ROUNDS)]
    if chance(rng, 0.5):
        described = "whole" if "whole" in picture.phrases else pick(rng, tuple(picture.phrases))
        rounds.append((pick(rng, _DESCRIBE), picture.phrases[described]))
    return picture, rounds


def _match(picture: Picture, form: str, rng: np.random.Generator) -> tuple[str, str]:
    """Whether a caption fits: the picture's own, or that of another picture of the family in the same wording."""
    caption, fits = picture.phrases[form], True
    if chance(rng, 0.5):
        for _ in range(_TRIES):
            other = FAMILIES[picture.family](rng).phrases.get(form)
            if other is not None and other not in picture.phrases.values():
                caption, fits = other, False
                break
    return pick(rng, _ASK).format(caption), "yes" if fits else "no"
