"""OCRBench: 1,000 questions, correct if the prediction contains a reference; the number of correct answers / 10.

Only in "Handwritten Mathematical Expression Recognition" spaces are ignored and case is significant.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mmssr_jax.evaluation import metrics, question_prompts
from mmssr_jax.evaluation.benchmark import parse_list
from mmssr_jax.evaluation.benchmark_registry import Benchmark
from mmssr_jax.evaluation.benchmarks import short_answer
from mmssr_jax.evaluation.prompt_kits import closed
from mmssr_jax.evaluation.score import Fields, Score, Unit

_FORMULAS = "Handwritten Mathematical Expression Recognition"
_QUESTIONS = 1000


def hit(fields: Fields) -> float:
    """1 if the prediction contains a reference, else 0."""
    formula = fields.get("category") == _FORMULAS
    return metrics.contains(fields["prediction"], parse_list(fields["answer"]), formula=formula)


def total(weights: np.ndarray, units: Sequence[Unit]) -> np.ndarray:
    """The number of correct answers / 10; weights `[b, n]` -> `[b]`."""
    return weights @ np.array([unit.values[0] for unit in units]) / 10


def score(answered: Sequence[Fields]) -> Score:
    """Correct answers / 10: 0-100 over the benchmark's 1,000 questions; in a category, its correct answers / 10."""
    units = [Unit((hit(row),), row) for row in answered]
    note = "" if len(units) == _QUESTIONS else f"of {len(units)} questions, not {_QUESTIONS:,}"
    return Score("right answers / 10", units, total, scale=len(units) / 10, note=note)


BENCHMARK = Benchmark(
    ("index", "image", "question", "answer", "category"),
    short_answer.load_with_images,
    question_prompts.question_only,
    score,
    kits={"lmms_eval": closed(change=str.strip)},
)
