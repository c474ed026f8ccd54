"""Yes/no questions scored by the F1 of "yes": POPE, and MM1.5's tappability of screen elements.

An answer that says neither counts as no "yes". POPE's `category` may name several sets by commas; the question then
counts once in each, also in the total, as in the kit.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mmssr_jax.evaluation import answers
from mmssr_jax.evaluation.benchmarks.yes_no import COLUMNS, ask, hit, load
from mmssr_jax.evaluation.score import Fields, Score, Unit, percent

__all__ = ["COLUMNS", "ask", "f1", "load", "score"]


def f1(weights: np.ndarray, units: Sequence[Unit]) -> np.ndarray:
    """100 x 2 tp / (2 tp + fp + fn), 0 without any yes; weights [b, units] -> [b]. Values: hit, tp, fp, fn."""
    _, tp, fp, fn = (weights @ np.array([unit.values for unit in units])).T
    wrong_or_right = 2 * tp + fp + fn
    return 100 * np.divide(2 * tp, wrong_or_right, out=np.zeros_like(tp), where=wrong_or_right > 0)


def score(answered: Sequence[Fields]) -> Score:
    """F1; beside it accuracy, precision, recall, the share of "yes", and the F1 of one who always says yes."""
    units = []
    for row in answered:
        truth, said = row["answer"].lower() == "yes", answers.yes_or_no(row["prediction"]) == "Yes"
        values = (hit(row), float(truth and said), float(said and not truth), float(truth and not said))
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
