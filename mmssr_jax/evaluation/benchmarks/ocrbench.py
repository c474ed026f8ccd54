"""OCRBench: 1,000 questions, right where an answer is contained in what the model wrote; the total divided by ten.

Only in "Handwritten Mathematical Expression Recognition" blanks are ignored and case counts.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mmssr_jax.evaluation import metrics, question_prompts
from mmssr_jax.evaluation.benchmark import Question, Row, answered_rows, parse_list, with_images
from mmssr_jax.evaluation.score import Fields, Score, Unit

COLUMNS = ("index", "image", "question", "answer", "category")

_FORMULAS = "Handwritten Mathematical Expression Recognition"
_QUESTIONS = 1000


def load(rows: list[Row]) -> list[Row]:
    """All rows with a picture; each needs an answer."""
    return answered_rows(with_images(rows))


def ask(row: Row, instruction: str | None) -> Question:
    """The question as it stands."""
    return question_prompts.question_only(row, instruction)


def hit(fields: Fields) -> float:
    """1 where an answer is contained in the prediction."""
    formula = fields.get("category") == _FORMULAS
    return metrics.contains(fields["prediction"], parse_list(fields["answer"]), formula=formula)


def total(weights: np.ndarray, units: Sequence[Unit]) -> np.ndarray:
    """Right answers divided by ten; weights [b, units] -> [b]."""
    return weights @ np.array([unit.values[0] for unit in units]) / 10


def score(answered: Sequence[Fields]) -> Score:
    """The total / 10: 0-100 over the benchmark's 1,000 questions; within a category its own total / 10."""
    units = [Unit((hit(row),), row) for row in answered]
    note = "" if len(units) == _QUESTIONS else f"of {len(units)} questions, not {_QUESTIONS:,}"
    return Score("right answers / 10", units, total, scale=len(units) / 10, note=note)
