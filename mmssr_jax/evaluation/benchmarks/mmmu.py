"""MMMU (dev and val): accuracy on the split `validation`, multiple choice and open questions together.

`<image 1>` in the text is replaced by that image; images that the text does not refer to are then left out. An open
question has no options: it is scored as a choice between A, its answer, and B, "Other Answers". As in VLMEvalKit, a
prediction "A" is therefore correct for it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from mmssr_jax.core.errors import UserError
from mmssr_jax.core.sample import IMAGE_TAG
from mmssr_jax.evaluation import answers, question_prompts
from mmssr_jax.evaluation.benchmark import Question, Row, options, require_answers, with_images
from mmssr_jax.evaluation.benchmark_registry import Benchmark
from mmssr_jax.evaluation.score import Fields, Score, mean_score

_SPLIT = "validation"
_IMAGE_NUMBER = re.compile(r"<image ([0-9]{1,9})>")


def load(rows: list[Row]) -> list[Row]:
    """The rows with an image of the split `validation`; of a file without a column `split`, all."""
    kept = [row for row in with_images(rows) if row.fields.get("split", _SPLIT) == _SPLIT]
    return require_answers(kept)


def ask(row: Row, instruction: str | None) -> Question:
    """Question and options, with the images where the text refers to them.

    Raises:
      UserError: the text refers to an image that the row does not have.
    """
    text = question_prompts.multiple_choice_text(row, instruction)
    numbers = [int(number) for number in _IMAGE_NUMBER.findall(text)]
    if not numbers:
        return question_prompts.with_image_tags(row, text)
    if not all(1 <= number <= len(row.images) for number in numbers):
        raise UserError(f"index {row.index}: names <image {max(numbers)}> but has {len(row.images)} images")
    images = tuple(row.images[number - 1] for number in numbers)
    return Question(row.index, _IMAGE_NUMBER.sub(f"{IMAGE_TAG}\n", text), images, row.fields)


def hit(fields: Fields) -> float:
    """1 if the prediction selects the answer, else 0; an open question is scored as a choice."""
    choices = options(fields)
    if "A" not in choices:
        choices = {"A": fields["answer"], "B": "Other Answers"}
    letter = fields["answer"] if re.fullmatch("[A-Z]", fields["answer"]) else "A"
    return float(answers.match_choice(fields["prediction"], choices) == letter)


def score(answered: Sequence[Fields]) -> Score:
    """Accuracy, with the number of open questions and the accuracy of random guessing on the others."""
    choices = [fields for fields in answered if "A" in fields]
    guessed = sum(1 / len(options(fields)) for fields in choices)
    more = {"open questions": float(len(answered) - len(choices)), "chance": 100 * guessed / len(answered)}
    return mean_score("accuracy", answered, hit, more=more)


BENCHMARK = Benchmark(("index", "image", "question", "A", "B", "answer"), load, ask, score)
