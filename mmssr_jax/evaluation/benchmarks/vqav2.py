"""VQAv2 (val; Goyal et al. 2017): VQA accuracy against the answers of ten annotators, by VQA's normalisation.

`answer` (or `answers`) is a list of ten texts, or of objects with an `answer`; accuracy within each `question_type` and
`answer_type`, if the file has these columns. VLMEvalKit has no VQAv2: its prompt is that of its other VQA benchmarks.

An answer that three of the other nine annotators gave is right; the mean over the ten leave-one-out subsets makes
three of ten 0.9, two 0.6, one 0.3.
"""

from __future__ import annotations

from collections.abc import Sequence

from mmssr_jax.evaluation import metrics, vqa_answers
from mmssr_jax.evaluation.benchmarks.ten_answers import ten_answers
from mmssr_jax.evaluation.prompt_kits import SHORT
from mmssr_jax.evaluation.question_prompts import short_answer


def hit(prediction: str, references: Sequence[str]) -> float:
    """The VQA accuracy of one answer."""
    return metrics.vqa_accuracy(prediction, references, normaliser=vqa_answers.of_vqa)


BENCHMARK = ten_answers(hit, ask=short_answer, kits=SHORT)
