"""Yes/no questions scored by the F1 of "yes": POPE, and MM1.5's tappability of screen elements.

A prediction that says neither counts as not "yes". POPE's `category` may name several sets, separated by commas; as in
VLMEvalKit, the question then counts once in each of them, also in the total.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mmssr_jax.evaluation import answers, question_prompts
from mmssr_jax.evaluation.benchmark_registry import Benchmark
from mmssr_jax.evaluation.benchmarks import yes_no
from mmssr_jax.evaluation.prompt_kits import YES_NO
from mmssr_jax.evaluation.ranked_options import yes_no_options
from mmssr_jax.evaluation.score import Fields, Score, Unit, percent


def f1(weights: np.ndarray, units: Sequence[Unit]) -> np.ndarray:
    """100 x 2 tp / (2 tp + fp + fn), 0 if all are 0; weights `[b, n]` -> `[b]`. The units' values: hit, tp, fp, fn."""
    _, tp, fp, fn = (weights @ np.array([unit.values for unit in units])).T
    denominator = 2 * tp + fp + fn
    return 100 * np.divide(2 * tp, denominator, out=np.zeros_like(tp), where=denominator > 0)


def score(answered: Sequence[Fields]) -> Score:
    """F1, with accuracy, precision, recall, the percentage of "yes", and the F1 of always answering yes."""
    units = []
    for row in answered:
        truth, predicted = row["answer"].lower() == "yes", answers.yes_or_no(row["prediction"]) == "Yes"
        counts = (truth and predicted, predicted and not truth, truth and not predicted)
        values = (yes_no.hit(row), *map(float, counts))
        for category in row["category"].split(",") if "category" in row else [None]:
            units.append(Unit(values, row if category is None else {**row, "category": category}))
    tp, fp, fn = np.sum([unit.values[1:] for unit in units], axis=0)
    more = {
        "accuracy": float(percent(np.ones((1, len(units))), units)[0]),
        "precision": 100 * tp / (tp + fp) if tp + fp else 0.0,
        "recall": 100 * tp / (tp + fn) if tp + fn else 0.0,
        "answers yes": 100 * (tp + fp) / len(units),
        "always yes": 200 * (tp + fn) / (tp + fn + len(units)),
    }
    return Score("F1", units, f1, more={name: float(value) for name, value in more.items()})


BENCHMARK = Benchmark(
    yes_no.COLUMNS, yes_no.load, question_prompts.question_only, score, options=yes_no_options, kits=YES_NO
)
