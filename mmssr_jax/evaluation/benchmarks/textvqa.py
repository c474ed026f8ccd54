"""TextVQA (val): VQA accuracy against the answers of ten annotators."""

from __future__ import annotations

from collections.abc import Sequence

from mmssr_jax.evaluation import metrics
from mmssr_jax.evaluation.benchmark import Row, answered_rows, parse_list, with_images
from mmssr_jax.evaluation.benchmarks.short_answer import ask
from mmssr_jax.evaluation.score import Fields, Score, mean_score

__all__ = ["COLUMNS", "ask", "load", "score"]

COLUMNS = ("index", "image", "question", "answer")


def load(rows: list[Row]) -> list[Row]:
    """All rows with a picture; each needs the list of its ten answers."""
    return answered_rows(with_images(rows))


def score(answered: Sequence[Fields]) -> Score:
    """The mean accuracy in percent."""
    return mean_score(
        "VQA accuracy", answered, lambda f: metrics.vqa_accuracy(f["prediction"], parse_list(f["answer"]))
    )
