"""MMStar: 1,500 multiple-choice questions that need the image, 6 categories of 250; accuracy."""

from __future__ import annotations

from mmssr_jax.evaluation.benchmarks.multiple_choice import image_choices

# The other kits read question and options from one column of another file.
BENCHMARK = image_choices("category", kits={})
