"""AI2D (test): multiple-choice questions on diagrams; accuracy.

VLMEvalKit has two files: in `AI2D_TEST` the labels in question are masked by letters, in `AI2D_TEST_NO_MASK` they are
not. Their accuracies differ by several points: report which file was used.
"""

from __future__ import annotations

from mmssr_jax.evaluation.benchmarks.multiple_choice import image_choices

BENCHMARK = image_choices()
