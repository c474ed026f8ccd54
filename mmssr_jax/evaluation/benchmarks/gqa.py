"""GQA (testdev balanced; Hudson & Manning 2019): exact match with the one answer.

GQA's own evaluation compares texts as they are, so what precedes it decides: here, as in LLaVA-1.5, a final period and
the case are dropped, and nothing else: "a dog" is not "dog", "2" is not "two". Accuracy within `structural` and
`semantic` types, if the file has these columns. `more` holds the accuracy without any processing.

Sources: GQA's eval.py; LLaVA, `scripts/convert_gqa_for_eval.py`. VLMEvalKit keeps the period ("Dog." misses "dog");
lmms-eval drops all punctuation ("t-shirt" equals "tshirt").
"""

from __future__ import annotations

from collections.abc import Sequence

from mmssr_jax.evaluation import question_prompts
from mmssr_jax.evaluation.benchmark_registry import Benchmark
from mmssr_jax.evaluation.benchmarks import short_answer
from mmssr_jax.evaluation.prompt_kits import SHORT
from mmssr_jax.evaluation.ranked_options import short_answer_options
from mmssr_jax.evaluation.score import Fields, Score, grouped, mean_score
from mmssr_jax.evaluation.vqa_answers import of_gqa


def hit(fields: Fields) -> float:
    """1 if the prediction is the answer, else 0."""
    return float(of_gqa(fields["prediction"]) == fields["answer"].lower())


def score(answered: Sequence[Fields]) -> Score:
    """The percentage of predictions that are the answer."""
    as_written = sum(row["prediction"] == row["answer"] for row in answered)
    return mean_score(
        "accuracy", answered, hit, groups=grouped(answered, hit, ("structural", "semantic")),
        more={"accuracy of texts as written": 100 * as_written / len(answered)},
    )  # fmt: skip


BENCHMARK = Benchmark(
    ("index", "image", "question", "answer"), short_answer.load_with_images, question_prompts.short_answer, score,
    options=short_answer_options, kits=SHORT,
)  # fmt: skip
