"""Any TSV of lettered options: the kit's prompt, its choice matching, plain accuracy.

`answer` is a letter; what the model wrote is matched by `answers.match_choice` ("A cat" picks A, as in the kit).
"""

from __future__ import annotations

from collections.abc import Sequence

from mmssr_jax.core.errors import UserError
from mmssr_jax.evaluation import answers, question_prompts
from mmssr_jax.evaluation.benchmark import Question, Row, options
from mmssr_jax.evaluation.score import Fields, Score, mean_score

COLUMNS = ("index", "question", "A", "B", "answer")


def load(rows: list[Row]) -> list[Row]:
    """All rows.

    Raises:
      UserError: a row whose answer is not the letter of one of its options.
    """
    for row in rows:
        if row.fields.get("answer") not in options(row.fields):
            raise UserError(
                f"index {row.index}: the answer {row.fields.get('answer', '')!r} is no option; "
                f"it has {', '.join(options(row.fields)) or 'none'}"
            )
    return rows


def ask(row: Row, instruction: str | None) -> Question:
    """Question and options, see `prompts.multiple_choice`."""
    return question_prompts.multiple_choice(row, instruction)


def hit(fields: Fields) -> float:
    """1 where the prediction picks the option that is the answer."""
    return float(answers.match_choice(fields["prediction"], options(fields)) == fields["answer"])


def chance(answered: Sequence[Fields]) -> float:
    """What guessing an option would give, in percent."""
    return 100 * sum(1 / len(options(fields)) for fields in answered) / len(answered)


def score(answered: Sequence[Fields]) -> Score:
    """Accuracy; beside it what guessing would give."""
    return mean_score("accuracy", answered, hit, more={"chance": chance(answered)})
