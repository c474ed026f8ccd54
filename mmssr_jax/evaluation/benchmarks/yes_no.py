"""Any TSV of yes/no questions: `answer` is Yes or No; accuracy of the word yes xor no in what the model wrote."""

from __future__ import annotations

from collections.abc import Sequence

from mmssr_jax.core.errors import UserError
from mmssr_jax.evaluation import answers, question_prompts
from mmssr_jax.evaluation.benchmark import Question, Row
from mmssr_jax.evaluation.score import Fields, Score, mean_score

COLUMNS = ("index", "question", "answer")


def load(rows: list[Row]) -> list[Row]:
    """All rows.

    Raises:
      UserError: a row whose answer is neither yes nor no.
    """
    for row in rows:
        if row.fields.get("answer", "").lower() not in ("yes", "no"):
            raise UserError(f"index {row.index}: the answer {row.fields.get('answer', '')!r} is neither Yes nor No")
    return rows


def ask(row: Row, instruction: str | None) -> Question:
    """The question as it stands: the kit's files say themselves how to answer."""
    return question_prompts.question_only(row, instruction)


def hit(fields: Fields) -> float:
    """1 where the prediction says what the answer says."""
    return float(answers.yes_or_no(fields["prediction"]).lower() == fields["answer"].lower())


def score(answered: Sequence[Fields]) -> Score:
    """Accuracy; an answer with both words or none is wrong. Beside it what guessing would give."""
    unknown = sum(answers.yes_or_no(fields["prediction"]) == "Unknown" for fields in answered)
    return mean_score("accuracy", answered, hit, more={"answers with neither or both": float(unknown), "chance": 50.0})
