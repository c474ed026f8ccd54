"""Any TSV of questions about images with the answers of ten annotators: VQA accuracy by VQA's normalisation.

`answer` (or `answers`) is a list of texts, or of objects with an `answer`. `ten_answers` makes the benchmarks of this
form.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

from mmssr_jax.evaluation import metrics, vqa_answers
from mmssr_jax.evaluation.benchmark import Row, require_answers, with_images
from mmssr_jax.evaluation.benchmark_registry import Benchmark
from mmssr_jax.evaluation.prompt_kits import SHORT, Ask, OtherKits
from mmssr_jax.evaluation.question_prompts import short_answer
from mmssr_jax.evaluation.score import Fields, Score, grouped, mean_score

_TYPES = ("question_type", "answer_type")


def load(rows: list[Row]) -> list[Row]:
    """The rows that have an image; each needs an answer, in the column `answer` or `answers`."""
    named = [
        dataclasses.replace(row, fields={"answer": row.fields["answers"], **row.fields})
        if "answers" in row.fields
        else row
        for row in with_images(rows)
    ]
    return require_answers(named)


def ten_answers(
    scored: Callable[[str, Sequence[str]], float], *, ask: Ask, kits: OtherKits,
    more: Callable[[Sequence[Fields]], dict[str, float]] = lambda _: {},
) -> Benchmark:  # fmt: skip
    """A benchmark of this form.

    Args:
      scored: a function of a prediction and the annotators' answers, with values in 0-1; the metric is 100 x its mean.
      ask, kits: see Benchmark.
      more: further metrics, by name.
    """

    def hit(fields: Fields) -> float:
        return scored(fields["prediction"], vqa_answers.annotators(fields["answer"]))

    def score(answered: Sequence[Fields]) -> Score:
        return mean_score(
            "VQA accuracy", answered, hit, groups=grouped(answered, hit, _TYPES), more=more(answered)
        )  # fmt: skip

    return Benchmark(("index", "image", "question"), load, ask, score, kits=kits)


def _scored(prediction: str, references: Sequence[str]) -> float:
    return metrics.vqa_accuracy(prediction, references, normaliser=vqa_answers.of_vqa)


BENCHMARK = ten_answers(_scored, ask=short_answer, kits=SHORT)
