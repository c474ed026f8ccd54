"""Any TSV, row by row: multiple choice where there are options, yes/no where that is the answer, else a short answer.

Each row is asked and scored as by the kind of that name; `type` in the file, as in the synthetic benchmark, groups
the numbers.
"""

from __future__ import annotations

from collections.abc import Sequence

from mmssr_jax.evaluation.benchmark import Question, Row, answered_rows, options
from mmssr_jax.evaluation.benchmarks import multiple_choice, short_answer, yes_no
from mmssr_jax.evaluation.score import Fields, Score, mean_score

COLUMNS = ("index", "question", "answer")


def load(rows: list[Row]) -> list[Row]:
    """All rows; each needs an answer, and that of a row with options must be the letter of one."""
    multiple_choice.load([row for row in rows if options(row.fields)])
    return answered_rows(rows)


def ask(row: Row, instruction: str | None) -> Question:
    """The question in the form of its kind; `instruction` replaces each kind's closing line."""
    if options(row.fields):
        return multiple_choice.ask(row, instruction)
    return (yes_no if _is_yes_no(row.fields) else short_answer).ask(row, instruction)


def hit(fields: Fields) -> float:
    """1 where the prediction is right by the rule of the row's kind."""
    if options(fields):
        return multiple_choice.hit(fields)
    return (yes_no if _is_yes_no(fields) else short_answer).hit(fields)


def score(answered: Sequence[Fields]) -> Score:
    """Accuracy; beside it what guessing would give: an option, yes or no; no short answer is guessed."""
    chances = [
        1 / len(options(fields)) if options(fields) else 0.5 if _is_yes_no(fields) else 0.0 for fields in answered
    ]
    return mean_score("accuracy", answered, hit, more={"chance": 100 * sum(chances) / len(chances)})


def _is_yes_no(fields: Fields) -> bool:
    return fields["answer"].lower() in ("yes", "no")
