"""Questions about several images, and few-shot questions that only their examples define."""

from __future__ import annotations

import numpy as np
from PIL import Image

from mmssr_jax.core.sample import IMAGE_TAG
from mmssr_jax.synthetic.canvas import COLOURS, SHAPES, SIZE, Canvas
from mmssr_jax.synthetic.scene import chance, pick, several, without
from mmssr_jax.synthetic.tasks.exercise import Exercise, Task
from mmssr_jax.synthetic.words import COMMON, a

_ORDER = ("first", "second", "third")
_RADIUS = 78


def _image(rng: np.random.Generator, colour: str, shape: str) -> Image.Image:
    """One large shape in the middle, a little off it."""
    canvas = Canvas(rng)
    shift = rng.integers(-20, 21, size=2)
    canvas.shape(shape, (SIZE / 2 + float(shift[0]), SIZE / 2 + float(shift[1])), _RADIUS, COLOURS[colour])
    return canvas.image


def compare(rng: np.random.Generator, category: str) -> Exercise:
    """Which of three images shows a thing, which is the odd one out, or in what two images differ."""
    if category == "differ":
        return _differ(rng)
    place = int(rng.integers(3))
    others = tuple(name for name in _ORDER if name != _ORDER[place])
    if category == "which":
        colours, shapes = several(rng, tuple(COLOURS), 3), several(rng, SHAPES, 3)
        question = f"Which picture shows {a(f'{colours[place]} {shapes[place]}')}?"
    else:
        by_colour = chance(rng, 0.5)
        usual, odd = several(rng, tuple(COLOURS) if by_colour else SHAPES, 2)
        fixed = pick(rng, SHAPES if by_colour else tuple(COLOURS))
        varied = [odd if i == place else usual for i in range(3)]
        colours, shapes = (varied, [fixed] * 3) if by_colour else ([fixed] * 3, varied)
        question = "Which picture is different from the others?"
    images = tuple(_image(rng, c, s) for c, s in zip(colours, shapes, strict=True))
    return Exercise(question, f"the {_ORDER[place]}", images, tuple(f"the {name}" for name in others))


def _differ(rng: np.random.Generator) -> Exercise:
    colour, shape = pick(rng, tuple(COLOURS)), pick(rng, SHAPES)
    answer = pick(rng, ("colour", "shape", "nothing"))
    other = pick(rng, without(tuple(COLOURS), colour)), pick(rng, without(SHAPES, shape))
    second = (other[0] if answer == "colour" else colour, other[1] if answer == "shape" else shape)
    images = (_image(rng, colour, shape), _image(rng, *second))
    return Exercise("In what do the pictures differ?", answer, images,
                    without(("colour", "shape", "nothing"), answer))  # fmt: skip


def induce(rng: np.random.Generator, category: str) -> Exercise:
    """Fast binding as in VL-ICL: two examples name two things; one of them recurs and its name is the answer.

    The names are reassigned in every question, so that only the examples determine the answer.
    """
    colours = several(rng, tuple(COLOURS), 2) if category == "colour" else [pick(rng, tuple(COLOURS))] * 2
    shapes = several(rng, SHAPES, 2) if category == "shape" else [pick(rng, SHAPES)] * 2
    names = several(rng, COMMON, 2)
    target = int(rng.integers(2))
    images = [_image(rng, colours[i], shapes[i]) for i in (0, 1, target)]
    examples = "".join(f"{IMAGE_TAG}\nThis is {name}.\n" for name in names)
    return Exercise(f"{examples}{IMAGE_TAG}\nWhat is this?", names[target], tuple(images), (names[1 - target],))


MULTI_IMAGE = Task("multiple_choice", ("which", "odd", "differ"), compare)
FEW_SHOT = Task("multiple_choice", ("colour", "shape"), induce)
