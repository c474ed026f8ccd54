"""Pre-training data of the scorer's base model: questions about, descriptions of and captions that fit varied pictures.

The captions that do not fit are those of other pictures of the same family in the same wording. Nothing else is wrong
in this data: it holds no flaw of the pools.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from mmssr_jax.core.progress import Progress
from mmssr_jax.synthetic.canvas import encode
from mmssr_jax.synthetic.caption_pool import captioned_scene
from mmssr_jax.synthetic.generate import IMAGES, POOL, image_names, record, write_records
from mmssr_jax.synthetic.matching.chart_families import bars, curve, hand, level, sectors, stripes, table, written
from mmssr_jax.synthetic.matching.figure_families import counted, faces, icons, odd_one, placed, things, two_groups
from mmssr_jax.synthetic.matching.picture import Picture, beside
from mmssr_jax.synthetic.scene import chance, pick, several

FAMILIES: dict[str, Callable[[np.random.Generator], Picture]] = {
    f.__name__: f
    for f in (things, counted, two_groups, placed, odd_one, icons, faces,
              written, bars, sectors, level, hand, stripes, curve, table)
}  # fmt: skip
_TWICE = ("things", "written")  # of more contents than the others
_SCENES = 0.35  # the share of pictures of `base_tiny`, whose weights it starts from, so that they are not forgotten
_BESIDE, _MATCHED, _DESCRIBED = 0.3, 0.25, 0.3
_STREAM, _TRIES = 61, 20
_ROUNDS = 4
_FITS = ("{} Does it fit?", "{} Right or wrong?", "{} Is it so?", "True or false: {}", "{} Is this correct?")
_TELL = ("Describe the picture.", "What does the picture show?", "Tell me what you see.", "What is there to see?")
_SHORTLY = ("", " Answer briefly.", " Give one word.", " In short.")


def write_matching(folder: Path, *, size: int, seed: int) -> None:
    """Writes a LLaVA-style pool of `size` pictures with questions, captions that fit or not, and descriptions."""
    records = []
    (folder / IMAGES).mkdir(parents=True, exist_ok=True)
    for index in Progress("image-text matching", size).over(range(size)):
        rng = np.random.default_rng((seed, index, _STREAM))
        if chance(rng, _SCENES):
            made, images = captioned_scene(seed, index)
        else:
            picture, rounds = draw_rounds(rng)
            images = image_names(f"m{index:06d}", [picture.image(rng)])
            made = record(f"m{index:06d}", picture.family, list(images), rounds)
        for file, image in images.items():
            (folder / file).write_bytes(encode(image))
        records.append(made)
    write_records(folder / POOL, records)


def draw_picture(rng: np.random.Generator) -> Callable[[], Picture]:
    """Draws what is shown: the result makes a picture of the same family at each call."""
    weights = np.array([2.0 if name in _TWICE else 1.0 for name in FAMILIES])
    one, other = (FAMILIES[str(n)] for n in rng.choice(list(FAMILIES), 2, p=weights / weights.sum()))
    if chance(rng, _BESIDE):
        other = one if chance(rng, 0.5) else other
        return lambda: beside(one(rng), other(rng))
    return lambda: one(rng)


def draw_rounds(rng: np.random.Generator) -> tuple[Picture, list[tuple[str, str]]]:
    """A picture and its conversation."""
    draw = draw_picture(rng)
    picture = draw()
    rounds = []
    for form in several(rng, tuple(picture.phrases), min(_ROUNDS, len(picture.phrases))):
        question, mark, answer = picture.phrases[form].partition("?")
        if mark and not chance(rng, _MATCHED):
            rounds.append((f"{question}?{pick(rng, _SHORTLY)}", answer.strip()))
        elif mark or chance(rng, 0.4):
            rounds.append(_match(picture, form, draw, rng))
    if chance(rng, _DESCRIBED) or not rounds:
        sentences = [phrase for phrase in picture.phrases.values() if "?" not in phrase]
        told = several(rng, tuple(sentences), min(3, len(sentences)))
        rounds.append((pick(rng, _TELL), " ".join(told)))
    return picture, rounds


def _match(picture: Picture, form: str, draw: Callable[[], Picture], rng: np.random.Generator) -> tuple[str, str]:
    """Whether a caption fits: the picture's own, or that of another picture of the family in the same wording."""
    caption, fits = picture.phrases[form], True
    if chance(rng, 0.5):
        for _ in range(_TRIES):
            other = draw()
            wrong = other.phrases.get(form)
            if other.family == picture.family and wrong is not None and wrong not in picture.phrases.values():
                caption, fits = wrong, False
                break
    asked = pick(rng, _FITS)
    yes, no = ("right", "wrong") if "Right" in asked else ("true", "false") if "True" in asked else ("yes", "no")
    return asked.format(caption), yes if fits else no
