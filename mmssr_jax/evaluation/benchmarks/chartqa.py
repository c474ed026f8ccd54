"""ChartQA (test): relaxed accuracy, numbers within 5 %.

`split` separates human from augmented questions. The two splits have equal size, so the accuracy over all questions is
also the mean of the two.
"""

from __future__ import annotations

from mmssr_jax.evaluation import metrics
from mmssr_jax.evaluation.benchmarks.short_answer import image_short_answers
from mmssr_jax.evaluation.prompt_kits import OtherKits, closed

_KITS: OtherKits = {"lmms_eval": closed("Answer the question with a single word.")}
BENCHMARK = image_short_answers("relaxed accuracy", metrics.relaxed_match, kits=_KITS)
