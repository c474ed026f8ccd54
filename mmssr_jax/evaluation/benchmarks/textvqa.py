"""TextVQA (val): mean VQA accuracy against the answers of ten annotators."""

from __future__ import annotations

from mmssr_jax.evaluation import metrics
from mmssr_jax.evaluation.benchmarks.short_answer import image_short_answers

BENCHMARK = image_short_answers("VQA accuracy", metrics.vqa_accuracy)
