"""Grounding and referring: coloured shapes whose boxes are known, written as MM1.5 writes them.

`<x1,y1,x2,y2>` in the units of `core.grounding`; the shapes stand about the places of a three by three grid, so that
a constant box is seldom right.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from mmssr_jax.core import grounding
from mmssr_jax.procedural.draw import COLOURS, PLACES, SHAPES, SIZE, Canvas, Point
from mmssr_jax.procedural.picture import pick, several
from mmssr_jax.procedural.tasks.exercise import Exercise, Task

_RADII = (32, 40)
_SHIFT = 6  # pixels that a shape may stand beside its place
Box = tuple[float, float, float, float]


@dataclasses.dataclass(frozen=True)
class _Shape:
    colour: str
    name: str
    centre: Point
    radius: float

    @property
    def box(self) -> Box:
        (x, y), r = self.centre, self.radius
        return (x - r, y - r, x + r, y + r)


def box_text(box: Box) -> str:
    """A box in pixels of a procedural picture as text."""
    return grounding.write(box, height=SIZE, width=SIZE)


def _scene(rng: np.random.Generator, vary: str) -> tuple[Canvas, list[_Shape]]:
    """One to four shapes that differ in their colour, their form, or both."""
    count = int(rng.integers(1, 5))
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


def ground(rng: np.random.Generator, category: str) -> Exercise:
    """Where a named shape is: its box."""
    canvas, shapes = _scene(rng, category)
    asked = shapes[0]
    question = f"Where is the {asked.colour} {asked.name}? Answer with its box <x1,y1,x2,y2>."
    return Exercise(question, box_text(asked.box), (canvas.image,))


def refer(rng: np.random.Generator, category: str) -> Exercise:
    """What is in a box: the shape's colour and name."""
    canvas, shapes = _scene(rng, category)
    asked = shapes[0]
    return Exercise(f"What is at {box_text(asked.box)}?", f"{asked.colour} {asked.name}", (canvas.image,))


_VARIED = ("colour", "shape", "both")
GROUNDING = Task("grounding", _VARIED, ground)
REFERRING = Task("short_answer", _VARIED, refer)
