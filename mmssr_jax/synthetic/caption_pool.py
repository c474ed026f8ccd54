"""Caption data for pre-training the base model: detailed descriptions and short questions about details."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from mmssr_jax.core.progress import Progress
from mmssr_jax.synthetic import corruptions
from mmssr_jax.synthetic.canvas import encode
from mmssr_jax.synthetic.generate import IMAGES, POOL, image_names, record, write_records
from mmssr_jax.synthetic.qa import QuestionAnswer, fitting, make_qa
from mmssr_jax.synthetic.scene import Scene, chance, pick, several
from mmssr_jax.synthetic.scenes import IMAGE_SCENES
from mmssr_jax.synthetic.styles import CHOICE, COORDINATE, WORD, YES_NO
from mmssr_jax.synthetic.templates import QUESTIONS

_BLANK = ("The picture is blank.", "There is nothing to be seen; the picture is blank.")
_BLURRED = ("The picture is blurred.", "The picture is so blurred that nothing can be told.")
_STREAM = 7  # differs from those of pool and benchmark
_SHORT_ANSWERS = {WORD: 5.0, YES_NO: 3.0, CHOICE: 2.0, COORDINATE: 1.0}


def write_captions(folder: Path, *, size: int, seed: int) -> None:
    """Writes a LLaVA-style pool of `size` scenes with descriptions and short questions, all of them correct.

    About 6 % of the images are blank or blurred, and described as such.
    """
    records = []
    (folder / IMAGES).mkdir(parents=True, exist_ok=True)
    for index in Progress("caption data", size).over(range(size)):
        record, images = captioned_scene(seed, index)
        for name, image in images.items():
            (folder / name).write_bytes(encode(image))
        records.append(record)
    write_records(folder / POOL, records)


def captioned_scene(seed: int, index: int) -> tuple[dict[str, Any], dict[str, Image.Image]]:
    """The record of a scene, and its images by file name."""
    rng = np.random.default_rng((seed, index, _STREAM))
    scene = IMAGE_SCENES[pick(rng, tuple(IMAGE_SCENES))](rng, rng, int(rng.integers(1, 4)))
    name = f"c{index:06d}"
    if chance(rng, 0.06):
        images, turns = _unusable_image(scene, rng)
    else:
        images = scene.images
        turns = _description(scene, rng) if chance(rng, 0.5) else []
        turns += _short_questions(scene, rng, int(rng.integers(2, 5)) - len(turns))
    named = image_names(name, images)
    return record(name, "captions", list(named), turns), named


def _unusable_image(scene: Scene, rng: np.random.Generator) -> tuple[tuple[Image.Image, ...], list[tuple[str, str]]]:
    """A blank or blurred image and a conversation that says so."""
    is_blank = chance(rng, 0.5)
    images = (corruptions.blank(rng),) if is_blank else (corruptions.blurred(scene.images[0], rng),)
    description = pick(rng, _BLANK if is_blank else _BLURRED)
    return images, [(pick(rng, QUESTIONS[pick(rng, ("describe_short", "describe_long"))]), description)]


def _description(scene: Scene, rng: np.random.Generator) -> list[tuple[str, str]]:
    """One description: the first sentence of the caption, or all of them."""
    if chance(rng, 0.35):
        return [(pick(rng, QUESTIONS["describe_short"]), scene.caption[0])]
    return [(pick(rng, QUESTIONS["describe_long"]), " ".join(scene.caption))]


def _short_questions(scene: Scene, rng: np.random.Generator, rounds: int) -> list[tuple[str, str]]:
    """Short questions about different facts, in scene-specific or shared templates."""
    weights = np.array(list(_SHORT_ANSWERS.values()))
    turns: list[tuple[str, str]] = []
    for fact in several(rng, scene.facts, len(scene.facts)):
        if len(turns) >= max(1, rounds):
            break
        style = list(_SHORT_ANSWERS)[int(rng.choice(len(weights), p=weights / weights.sum()))]
        if fact not in fitting(scene, style):
            continue
        qa: QuestionAnswer = make_qa(scene, fact, style, rng, explicit=0.5, statements=0.4)
        if qa.question not in [q for q, _ in turns]:
            turns.append((qa.question, qa.answer))
    return turns or _description(scene, rng)
