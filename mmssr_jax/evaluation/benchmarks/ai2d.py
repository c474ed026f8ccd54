"""AI2D (test): multiple-choice questions on diagrams; accuracy.

The kit has two files: `AI2D_TEST`, in which the labels asked for are masked by letters, and `AI2D_TEST_NO_MASK`. Their
numbers differ by points: name the file with the number.
"""

from __future__ import annotations

from mmssr_jax.evaluation.benchmark import Row, with_images
from mmssr_jax.evaluation.benchmarks import multiple_choice
from mmssr_jax.evaluation.benchmarks.multiple_choice import ask, score

__all__ = ["COLUMNS", "ask", "load", "score"]

COLUMNS = ("index", "image", "question", "A", "B", "answer")


def load(rows: list[Row]) -> list[Row]:
    """All rows with a picture."""
    return multiple_choice.load(with_images(rows))
