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
from mmssr_jax.synthetic.tiles.tile_scene import COLOURS, NUMBERS, SHAPES, SIZES, Part, TileCard, place_cards

_ORDER = NUMBERS[:3]
# Words that are one token each. The pool gives them other meanings, so that a name holds in its own question only. With
# all 66 of them a tiny model copies names and does not bind them to things.
NAMES = tuple(word for words in INVENTED for word in words if " " not in word)[:16]
Thing = tuple[str, str]  # colour and shape


def one_card(rng: np.random.Generator, colour: str, shape: str, part: Part) -> Image.Image:
    """One object on a card, of a random size at a random place; every part has such a scene of every object."""
    while True:
        scene, _ = place_cards(rng, [TileCard("object", (pick(rng, SIZES), colour, shape))])
        if scene.part == part:
            return draw(scene, rng)


def told(things: Sequence[Thing]) -> str:
    """What pictures show, in their order: a tiny model reads what it wrote, and cannot search what it saw."""
    return ", ".join(_placed(things, place) for place in range(len(things)))


def _placed(things: Sequence[Thing], place: int) -> str:
    return f"{' '.join(things[place])} {_ORDER[place]}"


def find(rng: np.random.Generator) -> tuple[list[Thing], list[tuple[str, str]]]:
    """Which of three pictures shows a thing: what they show, and a (question, answer) for each thing.

    The first answer tells what all pictures show before it finds the one that was asked for.
    """
    things = list(zip(several(rng, COLOURS, 3), several(rng, SHAPES, 3), strict=True))
    (question, answer), *more = (
        (f"Which picture shows the {' '.join(things[place])}?", _placed(things, place))
        for place in several(rng, range(3), 3)
    )
    return things, [(question, f"{told(things)}: {answer}"), *more]


def compare(rng: np.random.Generator, category: str, part: Part) -> Exercise:
    """Which of three images shows a thing, or what one of them shows."""
    things, ((question, answer), *more) = find(rng)
    if category == "what":
        more = [(f"What does picture {_ORDER[place]} show?", " ".join(things[place])) for place in range(3)]
        question, answer = more.pop(int(rng.integers(3)))
    return Exercise(question, answer, tuple(one_card(rng, *thing, part) for thing in things), more=tuple(more))


def named(rng: np.random.Generator, category: str, count: int = 2) -> list[tuple[Thing, str]]:
    """Things that differ in their shape or in both, each with its line: the thing and its name.

    The names are drawn anew every time, so that only the lines tell them.
    """
    colours = several(rng, COLOURS, count) if category == "both" else [pick(rng, COLOURS)] * count
    things = list(zip(colours, several(rng, SHAPES, count), strict=True))
    names = several(rng, NAMES, count)
    return [(thing, f"{' '.join(thing)} {name}") for thing, name in zip(things, names, strict=True)]


def induce(rng: np.random.Generator, category: str, part: Part) -> Exercise:
    """Fast binding as in VL-ICL: two examples name two things; one of them recurs, and is to be told and named."""
    pairs = named(rng, category)
    thing, line = pick(rng, pairs)
    images = [one_card(rng, *thing, part) for thing in (*(thing for thing, _ in pairs), thing)]
    examples = "".join(f"{IMAGE_TAG}\n{line}\n" for _, line in pairs)
    return Exercise(f"{examples}{IMAGE_TAG}\nName it.", line, tuple(images))


MULTI_IMAGE = Task("short_answer", ("which", "what"), compare)
FEW_SHOT = Task("short_answer", ("shape", "both"), induce)
