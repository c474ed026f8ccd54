"""Captions of pictures of the tile world, scored by CIDEr."""

from __future__ import annotations

import numpy as np

from mmssr_jax.synthetic.scene import pick
from mmssr_jax.synthetic.tasks.exercise import Exercise, Task
from mmssr_jax.synthetic.tiles.drawing import draw
from mmssr_jax.synthetic.tiles.tile_captions import ASK
from mmssr_jax.synthetic.tiles.tile_scene import Part, draw_scene


def tell(rng: np.random.Generator, category: str, part: Part) -> Exercise:
    """The description of a picture."""
    scene = draw_scene(rng, part)
    return Exercise(pick(rng, ASK), scene.caption, (draw(scene, rng),))


CAPTION = Task("caption", ("caption",), tell)
