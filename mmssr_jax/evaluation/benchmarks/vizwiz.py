"""VizWiz-VQA (val; Gurari et al. 2018): VQA accuracy against ten answers, with EvalAI's processor of answers.

The questions of blind people about their own photos: where most annotators found that the photo does not show the
answer, the right answer is "unanswerable", which a model says only if its prompt offers it; LLaVA's and lmms-eval's
prompts do, VLMEvalKit's is the question alone. `answers` (or `answer`) is the list of ten; "unsuitable image" is not
"unanswerable". `more` holds the share of answers "unanswerable", and the accuracy of always saying so.
"""

from __future__ import annotations

from collections.abc import Sequence

from mmssr_jax.evaluation import metrics, vqa_answers
from mmssr_jax.evaluation.benchmarks.ten_answers import ten_answers
from mmssr_jax.evaluation.prompt_kits import INSUFFICIENT, closed
from mmssr_jax.evaluation.question_prompts import question_only
from mmssr_jax.evaluation.score import Fields

UNANSWERABLE = "unanswerable"


def hit(prediction: str, references: Sequence[str]) -> float:
    """The VQA accuracy of one answer."""
    return metrics.vqa_accuracy(prediction, references, normaliser=vqa_answers.of_eval_ai)


def unanswerable(answered: Sequence[Fields]) -> dict[str, float]:
    """How often the model said "unanswerable", and what saying it always would score, in percent."""
    said = sum(vqa_answers.of_eval_ai(row["prediction"]) == UNANSWERABLE for row in answered)
    always = sum(hit(UNANSWERABLE, vqa_answers.annotators(row["answer"])) for row in answered)
    return {
        f'answers "{UNANSWERABLE}"': 100 * said / len(answered),
        f'always "{UNANSWERABLE}"': 100 * always / len(answered),
    }


BENCHMARK = ten_answers(
    hit, ask=question_only, more=unanswerable,
    kits={"lmms_eval": closed(INSUFFICIENT, change=str.capitalize), "llava": closed(INSUFFICIENT)},
)  # fmt: skip
