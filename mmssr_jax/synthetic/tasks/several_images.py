"""Questions about several images, and few-shot questions that only their examples define."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image

from mmssr_jax.core.sample import IMAGE_TAG
from mmssr_jax.synthetic.scene import pick, several
from mmssr_jax.synthetic.tasks.exercise import Exercise, Task
from mmssr_jax.synthetic.tiles.drawing import draw
from mmssr_jax.synthetic.tiles.skills import INVENTED
from mmssr_jax.synthetic.tiles.tile_scene import COLOURS, SHAPES, SIZES, Part, TileCard, place_cards

_ORDER = ("first", "second", "third")
# Words that are one token each. The pool gives them other meanings, so that a name holds in its own question only.
NAMES = tuple(word for words in INVENTED for word in words if " " not in word)


def one_card(rng: np.random.Generator, colour: str, shape: str, part: Part) -> Image.Image:
    """One object on a card, of a random size at a random place; every part has such a scene of every object."""
    while True:
        scene, _ = place_cards(rng, [TileCard("object", (pick(rng, SIZES), colour, shape))])
        if scene.part == part:
            return draw(scene, rng)


def told(things: Sequence[tuple[str, str]]) -> str:
    """What pictures show, in their order: a tiny model reads what it wrote, and cannot search what it saw."""
    return ", ".join(f"{' '.join(thing)} {place}" for thing, place in zip(things, _ORDER, strict=True))


def find(rng: np.random.Generator) -> tuple[str, list[tuple[str, str]], str]:
    """Which of three pictures shows a thing: the question, what they show, the answer, which tells all of it first."""
    things, place = list(zip(several(rng, COLOURS, 3), several(rng, SHAPES, 3), strict=True)), int(rng.integers(3))
    thing = " ".join(things[place])
    return f"Which picture shows the {thing}?", things, f"{told(things)}: {thing} {_ORDER[place]}"


def compare(rng: np.random.Generator, category: str, part: Part) -> Exercise:
    """Which of three images shows a thing, or what one of them shows."""
    question, things, answer = find(rng)
    if category == "what":
        place = int(rng.integers(3))
        question, answer = f"What does the {_ORDER[place]} picture show?", " ".join(things[place])
    return Exercise(question, answer, tuple(one_card(rng, *thing, part) for thing in things))


def two_named(rng: np.random.Generator, category: str) -> tuple[list[tuple[str, str]], list[str]]:
    """Two things, (colour, shape), that differ in their shape or in both, and a line for each: the thing and its name.

    The names are drawn anew every time, so that only the lines tell them.
    """
    colours = several(rng, COLOURS, 2) if category == "both" else [pick(rng, COLOURS)] * 2
    things = list(zip(colours, several(rng, SHAPES, 2), strict=True))
    return things, [f"{' '.join(thing)} {name}" for thing, name in zip(things, several(rng, NAMES, 2), strict=True)]


def induce(rng: np.random.Generator, category: str, part: Part) -> Exercise:
    """Fast binding as in VL-ICL: two examples name two things; one of them recurs, and is to be told and named."""
    things, lines = two_named(rng, category)
    target = int(rng.integers(2))
    images = [one_card(rng, *thing, part) for thing in (*things, things[target])]
    examples = "".join(f"{IMAGE_TAG}\n{line}\n" for line in lines)
    return Exercise(f"{examples}{IMAGE_TAG}\nName it.", lines[target], tuple(images))


MULTI_IMAGE = Task("short_answer", ("which", "what"), compare)
FEW_SHOT = Task("short_answer", ("shape", "both"), induce)
