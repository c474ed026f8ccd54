"""One question of a task with its images and its answer, as a benchmark row or as a training conversation.

Both use the same prompt (the kit's prompt without its closing line, `instruction = ""` in the benchmark's settings),
so that a model is tested on the format it was trained on. Their pictures are of different parts of the tile world
(of a clip, the first one), so that no question of a benchmark is about a picture or a clip of training data.
"""

from __future__ import annotations

import base64
import dataclasses
import json
from collections.abc import Callable

import numpy as np
from PIL import Image

from mmssr_jax.core.sample import IMAGE_TAG
from mmssr_jax.synthetic.canvas import encode
from mmssr_jax.synthetic.tiles.tile_scene import Part


@dataclasses.dataclass(frozen=True)
class Exercise:
    """A question.

    Attributes:
      question: with one `<image>` tag per image, or without tags if all images precede it.
      answer: a short text.
      images: the images, RGB.
      steps: what a conversation tells before the answer; a benchmark reads the answer out of all of it.
      others: wrong answers, which a benchmark that ranks compares with the right one; empty for an open question.
      more: further (question, answer) pairs about the same images. A pool appends them to the conversation; a
        benchmark ignores them.
    """

    question: str
    answer: str
    images: tuple[Image.Image, ...]
    steps: str = ""
    others: tuple[str, ...] = ()
    more: tuple[tuple[str, str], ...] = ()

    @property
    def prompt(self) -> str:
        """The user turn, equal to the prompt that `evaluation.question_prompts` builds with an empty instruction."""
        return self.question if IMAGE_TAG in self.question else f"{IMAGE_TAG}\n" * len(self.images) + self.question

    def turns(self) -> list[dict[str, str]]:
        """The whole conversation in LLaVA format."""
        pairs = [(self.prompt, self.steps + self.answer), *self.more]
        roles = ("human", "gpt")
        return [{"from": role, "value": text} for pair in pairs for role, text in zip(roles, pair, strict=True)]

    def row(self, index: int, category: str) -> dict[str, str]:
        """The cells of a benchmark row; several images are a JSON list of base64 strings."""
        texts = [base64.b64encode(encode(image)).decode("ascii") for image in self.images]
        cells = {
            "index": str(index),
            "question": self.question,
            "answer": self.answer,
            "category": category,
            "image": texts[0] if len(texts) == 1 else json.dumps(texts) if texts else "",
        }
        return cells | ({"distractors": json.dumps(self.others)} if self.others else {})


@dataclasses.dataclass(frozen=True)
class Task:
    """A generator of exercises.

    Attributes:
      kind: the benchmark kind that scores it (a file of `evaluation/benchmarks/`).
      categories: its sub-tasks; a benchmark cycles through them.
      draw: (content rng, category, part of the tile world) -> an exercise. Screens belong to no part.
    """

    kind: str
    categories: tuple[str, ...]
    draw: Callable[[np.random.Generator, str, Part], Exercise]
