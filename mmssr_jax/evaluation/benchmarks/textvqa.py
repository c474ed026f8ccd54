"""TextVQA (val): mean VQA accuracy against the answers of ten annotators."""

from __future__ import annotations

from mmssr_jax.evaluation import metrics
from mmssr_jax.evaluation.benchmarks.short_answer import image_short_answers
from mmssr_jax.evaluation.prompt_kits import OtherKits, closed
from mmssr_jax.evaluation.question_prompts import SHORT_INSTRUCTION

# LLaVA-1.5's question file also has the tokens of an OCR, which the TSV lacks.
_KITS: OtherKits = {"lmms_eval": closed(SHORT_INSTRUCTION, change=str.capitalize)}
BENCHMARK = image_short_answers("VQA accuracy", metrics.vqa_accuracy, kits=_KITS)
