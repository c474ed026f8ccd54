"""BLINK: multiple-choice questions on perception with up to four images each; accuracy."""

from __future__ import annotations

from mmssr_jax.evaluation.benchmarks.multiple_choice import image_choices

# The other kits read the whole prompt from a column of another file.
BENCHMARK = image_choices(kits={})
