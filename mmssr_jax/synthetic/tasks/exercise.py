"""One question of a task with its pictures and its answer, as a row of a benchmark or as a training conversation.

The two word it alike (the kit's prompt without its closing line, `instruction = ""` in the benchmark's settings), so
that a model is asked what it was trained on; the random streams differ, so that no question is seen before.
"""

from __future__ import annotations

import base64
import dataclasses
import json
import string
from collections.abc import Callable

import numpy as np
from PIL import Image

from mmssr_jax.core.sample import IMAGE_TAG
from mmssr_jax.synthetic.canvas import encode


@dataclasses.dataclass(frozen=True)
class Exercise:
    """A question.

    Attributes:
      question: without options; with one `<image>` tag a picture, or without any where they all come before it.
      answer: the right option's text, or what is to be written.
      images: the pictures.
      others: the wrong options; none for an open question.
      more: further questions about the same pictures, with their answers. A pool asks them after the first one, in the
        same conversation; a benchmark leaves them out.
    """

    question: str
    answer: str
    images: tuple[Image.Image, ...]
    others: tuple[str, ...] = ()
    more: tuple[tuple[str, str], ...] = ()

    def options(self, right: int) -> list[str]:
        """All options with the right one at place `right`; none for an open question."""
        return [*self.others[:right], self.answer, *self.others[right:]] if self.others else []

    def prompt(self, right: int) -> str:
        """The user's turn, as `evaluation.prompts` makes it of the row with an empty instruction."""
        text = self.question
        if self.others:
            lines = zip(string.ascii_uppercase, self.options(right), strict=False)
            text = f"Question: {text}\nOptions:\n" + "".join(f"{letter}. {option}\n" for letter, option in lines)
        return text if IMAGE_TAG in text else f"{IMAGE_TAG}\n" * len(self.images) + text

    def reply(self, right: int) -> str:
        """The assistant's turn: the letter, or the answer."""
        return string.ascii_uppercase[right] if self.others else self.answer

    def turns(self, right: int) -> list[dict[str, str]]:
        """The whole conversation, as LLaVA's files have it."""
        pairs = [(self.prompt(right), self.reply(right)), *self.more]
        roles = ("human", "gpt")
        return [{"from": role, "value": text} for pair in pairs for role, text in zip(roles, pair, strict=True)]

    def row(self, index: int, category: str, right: int) -> dict[str, str]:
        """The cells of a benchmark's row; several pictures are a list of base64 texts."""
        texts = [base64.b64encode(encode(image)).decode("ascii") for image in self.images]
        cells = {
            "index": str(index),
            "question": self.question,
            "answer": self.reply(right),
            "category": category,
            "image": texts[0] if len(texts) == 1 else json.dumps(texts),
        }
        return cells | dict(zip(string.ascii_uppercase, self.options(right), strict=False))


@dataclasses.dataclass(frozen=True)
class Task:
    """A kind of exercise.

    Attributes:
      kind: the kind of benchmark that scores it (a file of `evaluation/benchmarks/`).
      categories: its sub-tasks; a benchmark takes them in turn.
      draw: (content rng, category) -> an exercise.
    """

    kind: str
    categories: tuple[str, ...]
    draw: Callable[[np.random.Generator, str], Exercise]
