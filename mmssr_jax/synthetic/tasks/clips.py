"""Multiple choice over the frames of a short clip: where a shape moves, and which colour it had when."""

from __future__ import annotations

import numpy as np
from PIL import Image

from mmssr_jax.synthetic.canvas import COLOURS, SHAPES, SIZE, TINTS, Canvas
from mmssr_jax.synthetic.scene import pick, several
from mmssr_jax.synthetic.tasks.exercise import Exercise, Task

FRAMES = 8  # per clip
_REACH = 68  # pixels from the centre to where a movement begins or ends
_DIRECTIONS = {"left": (-1, 0), "right": (1, 0), "up": (0, -1), "down": (0, 1)}


def _frames(rng: np.random.Generator, direction: str, colours: list[str], shape: str) -> tuple[Image.Image, ...]:
    """A shape that crosses the image and changes its colour half-way."""
    tint = TINTS[rng.integers(len(TINTS))]
    dx, dy = _DIRECTIONS[direction]
    frames = []
    for n in range(FRAMES):
        canvas = Canvas(rng, tint)
        along = _REACH * (2 * n / (FRAMES - 1) - 1)
        centre = (SIZE / 2 + dx * along, SIZE / 2 + dy * along)
        canvas.shape(shape, centre, 52, COLOURS[colours[n * len(colours) // FRAMES]])
        frames.append(canvas.image)
    return tuple(frames)


def watch(rng: np.random.Generator, category: str) -> Exercise:
    """A question about a clip; the direction cannot be answered from a single frame."""
    direction, shape = pick(rng, tuple(_DIRECTIONS)), pick(rng, SHAPES)
    if category == "direction":
        images = _frames(rng, direction, [pick(rng, tuple(COLOURS))], shape)
        others = tuple(several(rng, [d for d in _DIRECTIONS if d != direction], 3))
        return Exercise(f"In which direction does the {shape} move?", direction, images, others)
    first, last, *absent = several(rng, tuple(COLOURS), 4)
    images = _frames(rng, direction, [first, last], shape)
    answer, other = (first, last) if category == "begin" else (last, first)
    others = tuple(several(rng, [other, *absent], 3))
    return Exercise(f"Which colour does the {shape} have at the {category}?", answer, images, others)


VIDEO = Task("multiple_choice", ("direction", "begin", "end"), watch)
