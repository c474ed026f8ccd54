"""Grounding: recall at IoU 0.5 of the first predicted box (RefCOCO, Flickr30k, MM1.5-UI's screens).

`answer` holds the box, or a list of boxes each of which is correct, as `<x1,y1,x2,y2>` or `[x1, y1, x2, y2]`; the model
must write its box in the same units. The metric is accompanied by the recall of the best constant box, among the mean
of the answers and up to 200 of the answers themselves.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mmssr_jax.core.errors import UserError
from mmssr_jax.evaluation import metrics, question_prompts
from mmssr_jax.evaluation.benchmark import Row
from mmssr_jax.evaluation.benchmark_registry import Benchmark
from mmssr_jax.evaluation.score import Fields, Score, mean_score

_MAX_CANDIDATES = 200


def load(rows: list[Row]) -> list[Row]:
    """All rows.

    Raises:
      UserError: an answer without a box.
    """
    for row in rows:
        if not metrics.boxes(row.fields.get("answer", "")):
            raise UserError(f"index {row.index}: the answer {row.fields.get('answer', '')!r} has no box x1,y1,x2,y2")
    return rows


def score(answered: Sequence[Fields]) -> Score:
    """Recall@1 at IoU > 0.5, with the recall of the best constant box and the number of predictions without a box."""
    more = {
        "constant box": 100 * _constant_recall([metrics.boxes(row["answer"]) for row in answered]),
        "answers without a box": float(sum(not metrics.boxes(row["prediction"]) for row in answered)),
    }
    return mean_score("recall@IoU 0.5", answered, lambda f: metrics.box_recall(f["prediction"], [f["answer"]]),
                      more=more)  # fmt: skip


def _constant_recall(answers: Sequence[Sequence[metrics.Box]]) -> float:
    """The best recall of one box for all questions."""
    first = np.array([boxes[0] for boxes in answers])
    stride = -(-len(first) // _MAX_CANDIDATES)
    candidates = [tuple(box) for box in (first.mean(axis=0), *first[::stride])]
    return max(
        sum(any(metrics.iou(c, box) > metrics.RECALL_IOU for box in boxes) for boxes in answers) / len(answers)
        for c in dict.fromkeys(candidates)
    )


BENCHMARK = Benchmark(("index", "image", "question", "answer"), load, question_prompts.question_only, score)
