"""InfographicVQA (val): mean ANLS with threshold 0.5 over questions on infographics."""

from __future__ import annotations

from mmssr_jax.evaluation import metrics
from mmssr_jax.evaluation.benchmarks.short_answer import image_short_answers

BENCHMARK = image_short_answers("ANLS", metrics.anls)
