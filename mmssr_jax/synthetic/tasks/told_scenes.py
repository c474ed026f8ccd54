"""Text alone: a picture of the tile world told in words, and a question of a skill about it."""

from __future__ import annotations

import numpy as np

from mmssr_jax.synthetic.scene import pick, several
from mmssr_jax.synthetic.tasks.exercise import Exercise, Task
from mmssr_jax.synthetic.tiles.skills import SKILLS, draw_question
from mmssr_jax.synthetic.tiles.tile_pool import ask
from mmssr_jax.synthetic.tiles.tile_scene import Part


def tell(rng: np.random.Generator, category: str, part: Part) -> Exercise:
    """A description with a question whose answer is a word of the pool; what it means holds for pictures as well."""
    question = draw_question(rng, pick(rng, tuple(SKILLS)), int(rng.integers(1, 4)), part)
    others = [other for other in dict.fromkeys(question.others) if other != question.answer]
    told = f"{question.scene.caption}\n{ask(question, rng)}"
    return Exercise(told, question.answer, (), others=tuple(several(rng, others, 3)))


TOLD = Task("mixed", ("told",), tell)
