"""ScienceQA (test): the 2,017 of its 4,241 questions that have a picture, a `hint` before some of them; accuracy."""

from __future__ import annotations

from mmssr_jax.evaluation.benchmark import Row, with_images
from mmssr_jax.evaluation.benchmarks import multiple_choice
from mmssr_jax.evaluation.benchmarks.multiple_choice import ask, score

__all__ = ["COLUMNS", "ask", "load", "score"]

COLUMNS = ("index", "image", "question", "A", "B", "answer")


def load(rows: list[Row]) -> list[Row]:
    """All rows with a picture."""
    return multiple_choice.load(with_images(rows))
