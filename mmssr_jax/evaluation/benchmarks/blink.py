"""BLINK: multiple-choice questions on perception with up to four images each; accuracy."""

from __future__ import annotations

from mmssr_jax.evaluation.benchmarks.multiple_choice import image_choices

BENCHMARK = image_choices()
