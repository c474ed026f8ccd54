"""Captions against one or more references: 100 x CIDEr-D (COCO captions, MM1.5-UI's screen and widget captions)."""

from __future__ import annotations

from collections.abc import Sequence

from mmssr_jax.evaluation import question_prompts
from mmssr_jax.evaluation.benchmark import Question, Row, answered_rows, parse_list
from mmssr_jax.evaluation.cider import cider
from mmssr_jax.evaluation.score import Fields, Score, Unit, percent

COLUMNS = ("index", "image", "question", "answer")


def load(rows: list[Row]) -> list[Row]:
    """All rows; each needs a reference, or a list of them."""
    return answered_rows(rows)


def ask(row: Row, instruction: str | None) -> Question:
    """The question as it stands."""
    return question_prompts.question_only(row, instruction)


def score(answered: Sequence[Fields]) -> Score:
    """100 x the mean CIDEr-D; word weights come from this file's references."""
    values = cider([row["prediction"] for row in answered], [parse_list(row["answer"]) for row in answered])
    units = [Unit((value,), row) for row, value in zip(answered, values, strict=True)]
    return Score("CIDEr", units, percent)
