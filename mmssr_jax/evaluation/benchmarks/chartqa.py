"""ChartQA (test): relaxed accuracy, numbers within 5 %; `split` tells the human from the augmented questions."""

from __future__ import annotations

from collections.abc import Sequence

from mmssr_jax.evaluation import metrics
from mmssr_jax.evaluation.benchmark import Row, answered_rows, parse_list, with_images
from mmssr_jax.evaluation.benchmarks.short_answer import ask
from mmssr_jax.evaluation.score import Fields, Score, mean_score

__all__ = ["COLUMNS", "ask", "load", "score"]

COLUMNS = ("index", "image", "question", "answer")


def load(rows: list[Row]) -> list[Row]:
    """All rows with a picture; each needs an answer."""
    return answered_rows(with_images(rows))


def score(answered: Sequence[Fields]) -> Score:
    """Relaxed accuracy over all questions; the two splits are equally large, so this is also the mean of the two."""
    return mean_score(
        "relaxed accuracy", answered, lambda f: metrics.relaxed_match(f["prediction"], parse_list(f["answer"]))
    )
