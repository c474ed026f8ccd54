"""Any TSV: each row is multiple choice if it has options, yes/no if its answer is one of these, else a short answer.

Each row is prompted and scored as by the benchmark of that form; the file's column `type`, which the synthetic
benchmark has, groups the results.
"""

from __future__ import annotations

from collections.abc import Sequence

from mmssr_jax.evaluation import question_prompts
from mmssr_jax.evaluation.benchmark import Question, Row, options, require_answers
from mmssr_jax.evaluation.benchmark_registry import Benchmark
from mmssr_jax.evaluation.benchmarks import multiple_choice, short_answer, yes_no
from mmssr_jax.evaluation.prompt_kits import CHOICES, SHORT, YES_NO, Ask, Kit
from mmssr_jax.evaluation.ranked_options import (
    RankedOptions,
    lettered_options,
    short_answer_options,
    yes_no_options,
)
from mmssr_jax.evaluation.score import Fields, Score, mean_score


def load(rows: list[Row]) -> list[Row]:
    """All rows.

    Raises:
      UserError: a row without an answer, or a row with options whose answer is not the letter of one of them.
    """
    multiple_choice.load([row for row in rows if options(row.fields)])
    return require_answers(rows)


def ask(row: Row, instruction: str | None) -> Question:
    """The prompt of the row's form; `instruction` replaces its closing instruction."""
    if options(row.fields):
        return question_prompts.multiple_choice(row, instruction)
    prompt = question_prompts.question_only if _is_yes_no(row.fields) else question_prompts.short_answer
    return prompt(row, instruction)


def hit(fields: Fields) -> float:
    """1 if the prediction is correct by the rule of the row's form, else 0."""
    if options(fields):
        return multiple_choice.hit(fields)
    return (yes_no if _is_yes_no(fields) else short_answer).hit(fields)


def score(answered: Sequence[Fields]) -> Score:
    """Accuracy, with that of random guessing: of an option, or of yes or no; short answers cannot be guessed."""
    chances = [
        1 / len(options(fields)) if options(fields) else 0.5 if _is_yes_no(fields) else 0.0 for fields in answered
    ]
    return mean_score("accuracy", answered, hit, more={"chance": 100 * sum(chances) / len(chances)})


def ranked_options(fields: Fields) -> RankedOptions:
    """The options of the row's form."""
    if options(fields):
        return lettered_options(fields)
    return yes_no_options(fields) if _is_yes_no(fields) else short_answer_options(fields)


def _is_yes_no(fields: Fields) -> bool:
    return fields["answer"].lower() in ("yes", "no")


def _in_kit(kit: Kit) -> Ask:
    def ask_in_kit(row: Row, instruction: str | None) -> Question:
        forms = CHOICES if options(row.fields) else YES_NO if _is_yes_no(row.fields) else SHORT
        return forms[kit](row, instruction)

    return ask_in_kit


BENCHMARK = Benchmark(
    ("index", "question", "answer"), load, ask, score, options=ranked_options,
    kits={"lmms_eval": _in_kit("lmms_eval"), "llava": _in_kit("llava")},
)  # fmt: skip
