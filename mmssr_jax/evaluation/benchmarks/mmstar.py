"""MMStar: 1,500 multiple-choice questions that need the picture, 6 categories of 250; accuracy."""

from __future__ import annotations

from mmssr_jax.evaluation.benchmark import Row, with_images
from mmssr_jax.evaluation.benchmarks import multiple_choice
from mmssr_jax.evaluation.benchmarks.multiple_choice import ask, score

__all__ = ["COLUMNS", "ask", "load", "score"]

COLUMNS = ("index", "image", "question", "A", "B", "answer", "category")


def load(rows: list[Row]) -> list[Row]:
    """All rows with a picture."""
    return multiple_choice.load(with_images(rows))
