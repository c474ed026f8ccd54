"""Predictions first, numbers from disk afterwards.

    questions ──Answerer──> predictions/<run>/<benchmark>.parquet ──Kind.score──> an entry of results/<run>.json

The prediction table has only strings: `index`, `question`, `answer`, `prediction`, then the file's other columns in
their order, pictures left out; an empty cell is null. An entry of a result:

    kind, metric          what was measured; `value` is in the metric's own unit (MME: 0-2800)
    value, interval       the number and its 95 % bootstrap interval (seeded; units drawn anew)
    percent               value on a scale of 0-100, for averages over benchmarks
    n, questions          units scored (MMBench: circular groups; MME: images) and questions asked
    categories, groups    the number within each `category`; `l2-category`, `split`, `type`: {name: {value, n}}
    more                  further numbers by name, such as what guessing would give
    note                  what a reader must know, such as "exact match, no judge"
    judge                 where a language model graded: {name, from, to}, the dates of its replies
    predictions           the digest of the prediction table
"""

from __future__ import annotations

import dataclasses
import io
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

import pyarrow as pa
from PIL import Image

from mmssr_jax.core import files
from mmssr_jax.core.errors import UserError
from mmssr_jax.core.progress import Progress
from mmssr_jax.core.sample import ImageRef
from mmssr_jax.evaluation.benchmark import Question, Row
from mmssr_jax.evaluation.kinds import Kind
from mmssr_jax.evaluation.score import Fields, Score, summary

LEADING = ("index", "question", "answer", "prediction")
_GREY = (127, 127, 127)


class Answerer(Protocol):
    """A model that answers questions."""

    def answer(self, questions: Sequence[Question], *, max_new_tokens: int) -> Iterator[str]:
        """Yields one answer a question, in their order; at most `max_new_tokens` tokens each."""
        ...


def make_questions(kind: Kind, rows: list[Row], *, instruction: str | None = None) -> list[Question]:
    """The questions of a benchmark.

    Raises:
      UserError: none is left, or a row does not fit the kind.
    """
    kept = kind.load(rows)
    if not kept:
        raise UserError("the benchmark has no question")
    for row in kept:
        if "prediction" in row.fields:
            raise UserError("the file has a column 'prediction', which is this program's to write; rename it")
    return [kind.ask(row, instruction) for row in kept]


def blinded(questions: Sequence[Question]) -> list[Question]:
    """The same questions with every picture an even grey of the same size, so that token counts stay."""
    blanks: dict[tuple[int, int], ImageRef] = {}

    def blank(image: ImageRef) -> ImageRef:
        with Image.open(io.BytesIO(image.read())) as picture:
            size = picture.size
        if size not in blanks:
            buffer = io.BytesIO()
            Image.new("RGB", size, _GREY).save(buffer, format="PNG")
            blanks[size] = ImageRef(data=buffer.getvalue())
        return blanks[size]

    return [dataclasses.replace(q, images=tuple(blank(image) for image in q.images)) for q in questions]


def predict(
    questions: Sequence[Question], answerer: Answerer, path: Path, *, parts: Path, label: str, max_new_tokens: int,
    save_every: int,
) -> None:  # fmt: skip
    """Asks every question and writes the prediction table; goes on after the last finished part.

    Args:
      questions: in the order of the table.
      answerer: the model.
      path: the Parquet file.
      parts: a folder for the answers so far, one file every `save_every` questions; removed at the end.
      label: what the progress lines say.
      max_new_tokens: passed on to the model.
      save_every: questions a part. The model is always handed whole parts, so that how it batches them, and with that
        the bytes it answers, do not depend on where an earlier run was cut off.
    """
    progress = Progress(label, len(questions), "questions")
    predictions: list[str] = []
    for start in range(0, len(questions), save_every):
        part = parts / f"{start:08d}.json"
        asked = questions[start : start + save_every]
        if part.exists():
            given = files.read_json(part)
            progress = Progress(label, len(questions), "questions", done=start + len(given))
        else:
            given = list(progress.over(answerer.answer(asked, max_new_tokens=max_new_tokens)))
            if len(given) != len(asked):
                raise ValueError(f"{label}: {len(given)} answers to {len(asked)} questions")
            files.write_json(part, given)
        predictions += given
    files.write_parquet(path, prediction_table(questions, predictions))
    for part in sorted(parts.glob("*.json")):
        part.unlink()
    parts.rmdir()


def prediction_table(questions: Sequence[Question], predictions: Sequence[str]) -> pa.Table:
    """One row a question, all columns strings; see the module's head."""
    names = dict.fromkeys(LEADING)
    for question in questions:
        names.update(dict.fromkeys(question.fields))
    rows = [{**q.fields, "prediction": p} for q, p in zip(questions, predictions, strict=True)]
    schema = pa.schema([(name, pa.string()) for name in names])
    return pa.Table.from_pylist(rows, schema=schema)


def read_predictions(path: Path) -> list[Fields]:
    """The rows of a prediction table, each without its null cells.

    Raises:
      UserError: no such file, or a leading column is missing.
    """
    table = files.read_parquet(path)
    missing = [name for name in ("index", "prediction") if name not in table.column_names]
    if missing:
        raise UserError(f"{path}: has no column {', '.join(missing)}; is it a prediction table?")
    return [
        {**{k: v for k, v in row.items() if v is not None}, "prediction": row["prediction"] or ""}
        for row in table.to_pylist()
    ]


def entry(
    score: Score, path: Path, *, questions: int, seed: int, judge: dict[str, Any] | None = None
) -> dict[str, Any]:
    """One benchmark's entry in a result; see the module's head.

    Args:
      score: made from the prediction table.
      path: that table.
      questions: how many were asked.
      seed: of the bootstrap.
      judge: who graded, and when.
    """
    result = {**summary(score, seed=seed), "questions": questions, "predictions": files.file_digest(path)}
    return result if judge is None else {**result, "judge": judge}
