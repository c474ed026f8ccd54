"""Short captions, scored by CIDEr."""

from __future__ import annotations

import numpy as np

from mmssr_jax.synthetic.scene import pick
from mmssr_jax.synthetic.scenes import IMAGE_SCENES
from mmssr_jax.synthetic.tasks.exercise import Exercise, Task
from mmssr_jax.synthetic.templates import QUESTIONS


def tell(rng: np.random.Generator, category: str) -> Exercise:
    """The first sentence of a scene's caption."""
    while True:
        scene = IMAGE_SCENES[pick(rng, tuple(IMAGE_SCENES))](rng, rng, int(rng.integers(1, 4)))
        if len(scene.images) == 1:
            return Exercise(pick(rng, QUESTIONS["describe_short"]), scene.caption[0], scene.images)


CAPTION = Task("caption", ("caption",), tell)
