"""Few-shot prompts, and videos given as frames."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from mmssr_jax.core.errors import UserError
from mmssr_jax.core.files import digest
from mmssr_jax.core.sample import IMAGE_TAG
from mmssr_jax.evaluation.benchmark import Question, Row, parse_list
from mmssr_jax.images.frames import even_frames


def subsample_frames(row: Row, count: int) -> Row:
    """The row with at most `count` of its images, evenly spaced.

    Raises:
      UserError: it has more images, and the text has a tag for each of them.
    """
    if len(row.images) <= count:
        return row
    if IMAGE_TAG in row.fields.get("question", ""):
        raise UserError(f"index {row.index}: its text places {len(row.images)} images; they cannot be cut to {count}")
    return dataclasses.replace(row, images=tuple(row.images[i] for i in even_frames(len(row.images), count)))


def with_shots(questions: Sequence[Question], examples: Sequence[Question], *, count: int, seed: int) -> list[Question]:
    """Prepends `count` solved examples to each question: their prompt, "Answer: …", an empty line.

    The choice depends only on the seed and the question's index; a question is never its own example.

    Args:
      questions: the questions.
      examples: questions with an `answer`; the first one of a list of answers is shown.
      count: examples per question.
      seed: seed of the sampling.

    Raises:
      UserError: there are too few examples, or one has no answer.
    """
    return [_with_shots(question, examples, count, seed) for question in questions]


def _with_shots(question: Question, examples: Sequence[Question], count: int, seed: int) -> Question:
    others = [e for e in examples if (e.index, e.prompt) != (question.index, question.prompt)]
    if len(others) < count:
        raise UserError(f"index {question.index}: {count} shots are configured, but there are {len(others)} examples")
    draw = np.random.default_rng([seed, int(digest(question.index), 16)])
    shots = [others[i] for i in draw.choice(len(others), size=count, replace=False)]
    text = "".join(f"{shot.prompt.rstrip()}\nAnswer: {_answer(shot)}\n\n" for shot in shots)
    images = tuple(image for shot in shots for image in shot.images)
    return dataclasses.replace(question, prompt=text + question.prompt, images=images + question.images)


def _answer(shot: Question) -> str:
    if "answer" not in shot.fields:
        raise UserError(f"index {shot.index}: the example has no answer")
    return parse_list(shot.fields["answer"])[0]
