"""DocVQA (val): mean ANLS with threshold 0.5 over questions on scanned documents.

VLMEvalKit's test files have no answers: they are for submissions to the benchmark's server and cannot be scored here.
"""

from __future__ import annotations

from mmssr_jax.evaluation import metrics
from mmssr_jax.evaluation.benchmarks.short_answer import image_short_answers
from mmssr_jax.evaluation.prompt_kits import SHORT

BENCHMARK = image_short_answers("ANLS", metrics.anls, kits={"lmms_eval": SHORT["lmms_eval"]})
