"""Any TSV with lettered options: VLMEvalKit's prompt, option matching and plain accuracy.

`answer` is a letter; `answers.match_choice` maps the prediction to a letter ("A cat" selects A, as in VLMEvalKit).
`image_choices` makes the benchmarks that have this form.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from mmssr_jax.core.errors import UserError
from mmssr_jax.evaluation import answers, question_prompts
from mmssr_jax.evaluation.benchmark import Row, options, with_images
from mmssr_jax.evaluation.benchmark_registry import Benchmark
from mmssr_jax.evaluation.prompt_kits import CHOICES, OtherKits
from mmssr_jax.evaluation.ranked_options import lettered_options
from mmssr_jax.evaluation.score import Fields, Score, mean_score


def load(rows: list[Row]) -> list[Row]:
    """All rows.

    Raises:
      UserError: a row whose answer is not the letter of one of its options.
    """
    for row in rows:
        if row.fields.get("answer") not in options(row.fields):
            raise UserError(
                f"index {row.index}: the answer {row.fields.get('answer', '')!r} is not an option; "
                f"it has {', '.join(options(row.fields)) or 'none'}"
            )
    return rows


def load_with_images(rows: list[Row]) -> list[Row]:
    """The rows that have an image, checked as by `load`."""
    return load(with_images(rows))


def hit(fields: Fields) -> float:
    """1 if the prediction selects the correct option, else 0."""
    return float(answers.match_choice(fields["prediction"], options(fields)) == fields["answer"])


def chance(answered: Sequence[Fields]) -> float:
    """The expected accuracy of random guessing, in percent."""
    return 100 * sum(1 / len(options(fields)) for fields in answered) / len(answered)


def score(answered: Sequence[Fields]) -> Score:
    """Accuracy, with the accuracy of random guessing."""
    return mean_score("accuracy", answered, hit, more={"chance": chance(answered)})


def image_choices(
    *columns: str,
    load: Callable[[list[Row]], list[Row]] = load_with_images,
    score: Callable[[Sequence[Fields]], Score] = score,
    kits: OtherKits = CHOICES,
) -> Benchmark:
    """A benchmark of multiple-choice questions about images.

    Args:
      columns: required columns besides those of every such benchmark.
      load: see Benchmark; by default rows without an image are dropped.
      score: see Benchmark; by default accuracy.
      kits: see Benchmark; by default a lettered line an option.
    """
    required = ("index", "image", "question", "A", "B", "answer", *columns)
    return Benchmark(required, load, question_prompts.multiple_choice, score, options=lettered_options, kits=kits)


BENCHMARK = Benchmark(
    ("index", "question", "A", "B", "answer"), load, question_prompts.multiple_choice, score, options=lettered_options,
    kits=CHOICES,
)  # fmt: skip
