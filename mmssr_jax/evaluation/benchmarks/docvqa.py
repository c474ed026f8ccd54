"""DocVQA (val): ANLS with threshold 0.5 over questions on scanned documents.

The kit's test files have no answers: they serve for a submission to the benchmark's server, not here.
"""

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
    """The mean ANLS in percent."""
    return mean_score("ANLS", answered, lambda f: metrics.anls(f["prediction"], parse_list(f["answer"])))
