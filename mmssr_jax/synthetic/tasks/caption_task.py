"""A picture in a sentence, scored by CIDEr."""

from __future__ import annotations

import numpy as np

from mmssr_jax.synthetic.scene import pick
from mmssr_jax.synthetic.scenes import PICTURES
from mmssr_jax.synthetic.tasks.exercise import Exercise, Task
from mmssr_jax.synthetic.templates import QUESTIONS


def tell(rng: np.random.Generator, category: str) -> Exercise:
    """The first sentence of a picture's caption."""
    while True:
        shown = PICTURES[pick(rng, tuple(PICTURES))](rng, rng, int(rng.integers(1, 4)))
        if len(shown.images) == 1:
            return Exercise(pick(rng, QUESTIONS["describe_short"]), shown.caption[0], shown.images)


CAPTION = Task("caption", ("caption",), tell)
