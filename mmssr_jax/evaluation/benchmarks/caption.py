"""Captions against one or more references: 100 x CIDEr-D (COCO captions, MM1.5-UI's screen and widget captions)."""

from __future__ import annotations

from collections.abc import Sequence

from mmssr_jax.evaluation import question_prompts
from mmssr_jax.evaluation.benchmark import parse_list, require_answers
from mmssr_jax.evaluation.benchmark_registry import Benchmark
from mmssr_jax.evaluation.cider import cider
from mmssr_jax.evaluation.score import Fields, Score, Unit, percent


def score(answered: Sequence[Fields]) -> Score:
    """100 x the mean CIDEr-D; document frequencies are those of this file's references."""
    values = cider([row["prediction"] for row in answered], [parse_list(row["answer"]) for row in answered])
    units = [Unit((value,), row) for row, value in zip(answered, values, strict=True)]
    return Score("CIDEr", units, percent)


BENCHMARK = Benchmark(("index", "image", "question", "answer"), require_answers, question_prompts.question_only, score)
