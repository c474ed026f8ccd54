"""One question of a task with its images and its answer, as a benchmark row or as a training conversation.

Both use the same prompt (the kit's prompt without its closing line, `instruction = ""` in the benchmark's settings),
so that a model is tested on the format it was trained on. The random streams differ, so that no benchmark question
occurs in the training data.
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
      question: without options; with one `<image>` tag per image, or without tags if all images precede it.
      answer: the text of the correct option, or the free-form answer.
      images: the images, RGB.
      others: the wrong options; empty for an open question.
      more: further (question, answer) pairs about the same images. A pool appends them to the conversation; a
        benchmark ignores them.
    """

    question: str
    answer: str
    images: tuple[Image.Image, ...]
    others: tuple[str, ...] = ()
    more: tuple[tuple[str, str], ...] = ()

    def options(self, right: int) -> list[str]:
        """All options with the correct one at index `right`; empty for an open question."""
        return [*self.others[:right], self.answer, *self.others[right:]] if self.others else []

    def prompt(self, right: int) -> str:
        """The user turn, equal to the prompt that `evaluation.question_prompts` builds with an empty instruction."""
        text = self.question
        if self.others:
            lines = zip(string.ascii_uppercase, self.options(right), strict=False)
            text = f"Question: {text}\nOptions:\n" + "".join(f"{letter}. {option}\n" for letter, option in lines)
        return text if IMAGE_TAG in text else f"{IMAGE_TAG}\n" * len(self.images) + text

    def reply(self, right: int) -> str:
        """The assistant turn: the letter of the correct option, or the answer."""
        return string.ascii_uppercase[right] if self.others else self.answer

    def turns(self, right: int) -> list[dict[str, str]]:
        """The whole conversation in LLaVA format."""
        pairs = [(self.prompt(right), self.reply(right)), *self.more]
        roles = ("human", "gpt")
        return [{"from": role, "value": text} for pair in pairs for role, text in zip(roles, pair, strict=True)]

    def row(self, index: int, category: str, right: int) -> dict[str, str]:
        """The cells of a benchmark row; several images are a JSON list of base64 strings."""
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
    """A generator of exercises.

    Attributes:
      kind: the benchmark kind that scores it (a file of `evaluation/benchmarks/`).
      categories: its sub-tasks; a benchmark cycles through them.
      draw: (content rng, category) -> an exercise.
    """

    kind: str
    categories: tuple[str, ...]
    draw: Callable[[np.random.Generator, str], Exercise]
