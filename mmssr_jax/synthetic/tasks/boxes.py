"""Grounding and referring: coloured shapes whose boxes are known, written as MM1.5 writes them.

`<x1,y1,x2,y2>` in the units of `images.coordinates`. The shapes are placed on a jittered three by three grid, so that
a constant box is seldom correct. A training conversation has one question per shape of the scene, as grounding data
has many boxes per image; a benchmark row has one question.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np
from PIL import Image

from mmssr_jax.images import coordinates
from mmssr_jax.synthetic.canvas import COLOURS, PLACES, SHAPES, SIZE, Canvas, Point
from mmssr_jax.synthetic.scene import chance, pick, several
from mmssr_jax.synthetic.tasks.exercise import Exercise, Task

_RADII = (32, 40)
_SHIFT = 6  # maximal jitter in pixels
_SAME_TASK_SHARE = 0.75  # of the further questions of a conversation
_VARIED = ("colour", "shape", "both")
# Number of shapes in a scene. The categories form a curriculum: with many shapes from the start, a model learns neither
# to localise one shape nor to pick the right one.
_COUNTS = {"alone": (1,), "two": (2,), "several": (3, 4)}
Box = tuple[float, float, float, float]
Ask = Callable[[str, Box], tuple[str, str]]  # (name, box) -> question and answer


@dataclasses.dataclass(frozen=True)
class _Shape:
    colour: str
    name: str
    centre: Point
    radius: float

    @property
    def label(self) -> str:
        return f"{self.colour} {self.name}"

    @property
    def box(self) -> Box:
        (x, y), r = self.centre, self.radius
        return (x - r, y - r, x + r, y + r)


def box_text(box: Box) -> str:
    """A box in pixels of a synthetic image as text."""
    return coordinates.write(box, height=SIZE, width=SIZE)


def _scene(rng: np.random.Generator, category: str) -> tuple[Canvas, list[_Shape]]:
    """Shapes that differ in their colour, their form, or both."""
    count, vary = int(rng.choice(_COUNTS[category])), pick(rng, _VARIED)
    places = several(rng, tuple(PLACES.values()), count)
    colours = [pick(rng, tuple(COLOURS))] * count if vary == "shape" else several(rng, tuple(COLOURS), count)
    names = [pick(rng, SHAPES)] * count if vary == "colour" else several(rng, SHAPES, count)
    canvas, shapes = Canvas(rng), []
    for (x, y), colour, name in zip(places, colours, names, strict=True):
        centre = (x + float(rng.integers(-_SHIFT, _SHIFT + 1)), y + float(rng.integers(-_SHIFT, _SHIFT + 1)))
        shape = _Shape(colour, name, centre, float(pick(rng, _RADII)))
        canvas.shape(name, centre, shape.radius, COLOURS[colour])
        shapes.append(shape)
    return canvas, shapes


def where(name: str, box: Box) -> tuple[str, str]:
    """Question and answer of grounding."""
    return f"Which box holds the {name}?", box_text(box)


def what(name: str, box: Box) -> tuple[str, str]:
    """Question and answer of referring."""
    return f"What is at {box_text(box)}?", name


def ask_of_each(
    image: Image.Image, things: Sequence[tuple[str, Box]], first: Ask, other: Ask, rng: np.random.Generator
) -> Exercise:
    """One question per thing: `first` for the first thing and for most others, `other` for the rest.

    Each thing gets only one of the two: with both, the text of one question would give away the answer to the other.
    """
    asks = [first, *(first if chance(rng, _SAME_TASK_SHARE) else other for _ in things[1:])]
    (question, answer), *more = [ask(*thing) for ask, thing in zip(asks, things, strict=True)]
    return Exercise(question, answer, (image,), more=tuple(more))


def ground(rng: np.random.Generator, category: str) -> Exercise:
    """Where a named shape is: its box."""
    canvas, shapes = _scene(rng, category)
    return ask_of_each(canvas.image, [(s.label, s.box) for s in shapes], where, what, rng)


def refer(rng: np.random.Generator, category: str) -> Exercise:
    """What is in a box: the shape's colour and name."""
    canvas, shapes = _scene(rng, category)
    return ask_of_each(canvas.image, [(s.label, s.box) for s in shapes], what, where, rng)


GROUNDING = Task("grounding", tuple(_COUNTS), ground)
LOCATING = Task("grounding", ("alone",), ground)
REFERRING = Task("short_answer", tuple(_COUNTS), refer)
