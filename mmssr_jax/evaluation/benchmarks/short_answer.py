"""Any TSV of questions with a short answer, correct if it equals a reference after VQA's normalisation.

`answer` is a text, or a list of texts each of which is correct: `["2", "two"]`. `image_short_answers` makes the
benchmarks that have this form with another metric.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from mmssr_jax.evaluation import metrics, question_prompts
from mmssr_jax.evaluation.benchmark import Row, parse_list, require_answers, with_images
from mmssr_jax.evaluation.benchmark_registry import Benchmark
from mmssr_jax.evaluation.prompt_kits import SHORT, OtherKits
from mmssr_jax.evaluation.ranked_options import short_answer_options
from mmssr_jax.evaluation.score import Fields, Score, mean_score


def hit(fields: Fields) -> float:
    """1 if the prediction equals a reference, else 0."""
    return metrics.exact(fields["prediction"], parse_list(fields["answer"]))


def score(answered: Sequence[Fields]) -> Score:
    """The percentage of predictions that equal a reference."""
    return mean_score("accuracy", answered, hit)


def load_with_images(rows: list[Row]) -> list[Row]:
    """The rows that have an image; each needs an answer."""
    return require_answers(with_images(rows))


def image_short_answers(
    metric: str, scored: Callable[[str, Sequence[str]], float], *, kits: OtherKits = SHORT
) -> Benchmark:
    """A benchmark of questions about images with short answers.

    Args:
      metric: the metric's name.
      scored: a function of a prediction and its references, with values in 0-1; the metric is 100 x its mean.
      kits: see Benchmark; by default the closing line that all kits share.
    """

    def score(answered: Sequence[Fields]) -> Score:
        return mean_score(metric, answered, lambda f: scored(f["prediction"], parse_list(f["answer"])))

    required = ("index", "image", "question", "answer")
    return Benchmark(
        required, load_with_images, question_prompts.short_answer, score, options=short_answer_options, kits=kits
    )


BENCHMARK = Benchmark(
    ("index", "question", "answer"), require_answers, question_prompts.short_answer, score,
    options=short_answer_options, kits=SHORT,
)  # fmt: skip
