"""Grounding and referring: objects whose boxes are known, written as MM1.5 writes them.

`<x1,y1,x2,y2>` in the units of `images.coordinates`. Each object lies in a quarter of the picture, at a place of its
own, so that a constant box is seldom correct. The first box of a conversation is preceded by where everything is: a
tiny model looks up what it wrote, and cannot search what it saw. A training conversation has one question per object of
the picture, as grounding data has many boxes per image; a benchmark row has one question.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from PIL import Image

from mmssr_jax.images import coordinates
from mmssr_jax.synthetic.scene import chance, pick, several
from mmssr_jax.synthetic.tasks.exercise import Exercise, Task
from mmssr_jax.synthetic.tiles.drawing import CELL, RADII, SIZE, draw
from mmssr_jax.synthetic.tiles.tile_scene import COLOURS, NUMBERS, SHAPES, SIZES, Part, TileCard, place_cards

_SHIFTS = {"big": 1, "small": 5}  # from the middle of the cell, in pixels
_SAME_TASK_SHARE = 0.75  # of the further questions of a conversation
_VARIED = ("colour", "shape", "both", "both")
# Number of objects. The categories form a curriculum: with many objects from the start, a model learns neither
# to locate one object nor to pick the right one.
_COUNTS = {"alone": (1,), "two": (2,), "several": (3, 4)}
Box = tuple[float, float, float, float]
Thing = tuple[str, Box]
Ask = Callable[[str, Box], tuple[str, str, str]]  # (name, box) -> question; name and quarter; the rest of the answer


def box_text(box: Box) -> str:
    """A box in pixels of a picture as text."""
    return coordinates.write(box, height=SIZE, width=SIZE)


def _cards(rng: np.random.Generator, category: str) -> list[TileCard]:
    """Objects that differ in their colour, their shape, or both."""
    count, vary = int(rng.choice(_COUNTS[category])), pick(rng, _VARIED)
    colours = [pick(rng, COLOURS)] * count if vary == "shape" else several(rng, COLOURS, count)
    shapes = [pick(rng, SHAPES)] * count if vary == "colour" else several(rng, SHAPES, count)
    return [TileCard("object", (pick(rng, SIZES), *value)) for value in zip(colours, shapes, strict=True)]


def _picture(rng: np.random.Generator, category: str, part: Part) -> tuple[Image.Image, list[Thing]]:
    """A picture and the objects on its cards, each at a place of its own."""
    cards = _cards(rng, category)
    scene, cells = place_cards(rng, cards)
    while scene.part != part:
        cards = _cards(rng, category)
        scene, cells = place_cards(rng, cards)
    things: list[Thing] = []
    centres = {}
    for cell, card in zip(cells, cards, strict=True):
        size = card.value[0]
        radius = round(RADII[size])
        x, y = (
            CELL * at + CELL // 2 + int(rng.integers(-_SHIFTS[size], _SHIFTS[size] + 1)) for at in (cell % 2, cell // 2)
        )
        centres[cell] = (x, y)
        things.append((card.phrase, (x - radius, y - radius, x + radius, y + radius)))
    return draw(scene, rng, centres=centres), things


def quarter(box: Box) -> str:
    """The number of the quarter of the picture that holds a box, in the order of the descriptions, as a word."""
    x, y = ((box[i] + box[i + 2]) / 2 for i in (0, 1))
    return NUMBERS[2 * int(y // CELL) + int(x // CELL)]


def where(name: str, box: Box) -> tuple[str, str, str]:
    """Grounding: the phrase, its quarter, the box, as MM1.5 writes a box after a phrase."""
    return f"What is the box of the {name}?", f"{name} {quarter(box)}", f" {box_text(box)}"


def what(name: str, box: Box) -> tuple[str, str, str]:
    """Referring: the quarter, and what is there."""
    return f"What is in {box_text(box)}?", f"{quarter(box)} {name}", ""


def listed(things: Sequence[Thing], ask: Ask) -> str:
    """Where everything is, in the order of the cells, before the answer; nothing where there is only one thing."""
    if len(things) == 1:
        return ""
    ordered = sorted(things, key=lambda thing: NUMBERS.index(quarter(thing[1])))
    return ", ".join(ask(*thing)[1] for thing in ordered) + ": "


def further(things: Sequence[Thing], first: Ask, other: Ask, rng: np.random.Generator) -> tuple[tuple[str, str], ...]:
    """A (question, answer) for each thing: `first` for most, `other` for the rest.

    Each gets only one of the two: with both, the text of one question would give away the answer to the other. After a
    list of everything a "what" can be answered from the text, a "where" cannot.
    """
    asked = [(first if chance(rng, _SAME_TASK_SHARE) else other)(*thing) for thing in things]
    return tuple((question, told + rest) for question, told, rest in asked)


def ask_where(image: Image.Image, things: Sequence[Thing], rng: np.random.Generator) -> Exercise:
    """The box of the first thing; then one question for each of the others."""
    question, told, rest = where(*things[0])
    more = further(things[1:], where, what, rng)
    return Exercise(question, told + rest, (image,), steps=listed(things, where), more=more)


def ask_what(image: Image.Image, things: Sequence[Thing], rng: np.random.Generator) -> Exercise:
    """What is in the box of the first thing; then one question for each of the others."""
    question, told, _ = what(*things[0])
    return Exercise(question, told, (image,), more=further(things[1:], what, where, rng))


def ground(rng: np.random.Generator, category: str, part: Part) -> Exercise:
    """Where a named object is: its box."""
    image, things = _picture(rng, category, part)
    return ask_where(image, things, rng)


def refer(rng: np.random.Generator, category: str, part: Part) -> Exercise:
    """What is in a box: the object's size, colour and shape."""
    image, things = _picture(rng, category, part)
    return ask_what(image, things, rng)


GROUNDING = Task("grounding", tuple(_COUNTS), ground)
LOCATING = Task("grounding", ("alone",), ground)
REFERRING = Task("short_answer", tuple(_COUNTS), refer)
