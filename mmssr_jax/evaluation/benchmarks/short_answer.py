"""Any TSV of questions with a short answer: equal to an answer after VQA's normalisation.

`answer` is a text, or a list of texts of which each is right: `["2", "two"]`.
"""

from __future__ import annotations

from collections.abc import Sequence

from mmssr_jax.evaluation import metrics, question_prompts
from mmssr_jax.evaluation.benchmark import Question, Row, answered_rows, parse_list
from mmssr_jax.evaluation.score import Fields, Score, mean_score

COLUMNS = ("index", "question", "answer")


def load(rows: list[Row]) -> list[Row]:
    """All rows; each needs an answer."""
    return answered_rows(rows)


def ask(row: Row, instruction: str | None) -> Question:
    """The question, and to answer with a word or phrase."""
    return question_prompts.short_answer(row, instruction)


def hit(fields: Fields) -> float:
    """1 where the prediction equals an answer."""
    return metrics.exact(fields["prediction"], parse_list(fields["answer"]))


def score(answered: Sequence[Fields]) -> Score:
    """The share of predictions that equal an answer."""
    return mean_score("accuracy", answered, hit)
