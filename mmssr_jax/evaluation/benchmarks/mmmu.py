"""MMMU (dev and val): accuracy on the split `validation`, multiple choice and open questions together.

`<image 1>` in the text shows that picture in place; a picture that the text does not name is then not shown. An open
question has no options: it is scored as a choice between A, its answer, and B, "Other Answers". As in the kit, an
answer to it that is a stray "A" is right.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from mmssr_jax.core.errors import UserError
from mmssr_jax.core.sample import IMAGE_TAG
from mmssr_jax.evaluation import answers, question_prompts
from mmssr_jax.evaluation.benchmark import Question, Row, answered_rows, options, with_images
from mmssr_jax.evaluation.score import Fields, Score, mean_score

COLUMNS = ("index", "image", "question", "A", "B", "answer")

_SPLIT = "validation"
_PLACE = re.compile(r"<image (\d+)>")


def load(rows: list[Row]) -> list[Row]:
    """The rows of the split `validation`; all of them where the file has no column `split`."""
    kept = [row for row in with_images(rows) if row.fields.get("split", _SPLIT) == _SPLIT]
    return answered_rows(kept)


def ask(row: Row, instruction: str | None) -> Question:
    """Question and options, with the pictures where the text names them.

    Raises:
      UserError: the text names a picture that the row does not have.
    """
    text = question_prompts.multiple_choice_text(row, instruction)
    places = [int(number) for number in _PLACE.findall(text)]
    if not places:
        return question_prompts.with_images(row, text)
    if not all(1 <= place <= len(row.images) for place in places):
        raise UserError(f"index {row.index}: names <image {max(places)}> but has {len(row.images)} images")
    shown = tuple(row.images[place - 1] for place in places)
    return Question(row.index, _PLACE.sub(f"{IMAGE_TAG}\n", text), shown, row.fields)


def hit(fields: Fields) -> float:
    """1 where the prediction picks the answer; an open question is turned into a choice first."""
    choices = options(fields)
    if "A" not in choices:
        choices = {"A": fields["answer"], "B": "Other Answers"}
    letter = fields["answer"] if re.fullmatch("[A-Z]", fields["answer"]) else "A"
    return float(answers.match_choice(fields["prediction"], choices) == letter)


def score(answered: Sequence[Fields]) -> Score:
    """Accuracy; beside it the number of open questions, and what guessing the others would give."""
    choices = [fields for fields in answered if "A" in fields]
    lucky = sum(1 / len(options(fields)) for fields in choices)
    more = {"open questions": float(len(answered) - len(choices)), "chance": 100 * lucky / len(answered)}
    return mean_score("accuracy", answered, hit, more=more)
