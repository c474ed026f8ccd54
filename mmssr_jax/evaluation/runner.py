"""Predictions first, numbers from disk afterwards.

    questions ──Answerer──> predictions/<run>/<benchmark>.parquet ──Kind.score──> an entry of results/<run>.json

The prediction table has only strings: `index`, `question`, `answer`, `prediction`, then the file's other columns in
their order, pictures left out; an empty cell is null. A result holds `run`, `averages` (in percent: "all", the mean
over every benchmark, and those that the config asks for) and `benchmarks`, with such an entry for each:

    kind, metric          what was measured; `value` is in the metric's own unit (MME: 0-2800)
    value, interval       the number and its 95 % bootstrap interval (seeded; units drawn anew)
    percent               value on a scale of 0-100, for averages over benchmarks
    n, questions          units scored (MMBench: circular groups; MME: images) and questions asked
    categories, groups    the number within each `category`; `l2-category`, `split`, `type`: {name: {value, n}}
    more                  further numbers by name, such as what guessing would give
    note                  what a reader must know, such as "exact match, no judge"
    blind                 of a run with a blind twin: {value: the twin's number, gain: the run's minus it,
                          interval: of the gain, over questions drawn anew for both alike}
    judge                 where a language model graded: {name, from, to}, the dates of its replies
    predictions           the digest of the prediction table
"""

from __future__ import annotations

import dataclasses
import io
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
from PIL import Image

from mmssr_jax.core import files
from mmssr_jax.core.errors import UserError
from mmssr_jax.core.progress import Progress
from mmssr_jax.core.sample import ImageRef
from mmssr_jax.evaluation.benchmark import Question, Row
from mmssr_jax.evaluation.benchmark_registry import Benchmark
from mmssr_jax.evaluation.score import Fields, Score, summary
from mmssr_jax.parallel import hosts

LEADING = ("index", "question", "answer", "prediction")
BASELINES = ("chance", "constant box", "always yes")
"""Names in `more` of what no understanding gives."""
_GREY = (127, 127, 127)


class Predictor(Protocol):
    """A model that answers questions."""

    def answer(self, questions: Sequence[Question], *, max_new_tokens: int) -> Iterator[str]:
        """Yields one answer a question, in their order; at most `max_new_tokens` tokens each."""
        ...


def make_questions(kind: Benchmark, rows: list[Row], *, instruction: str | None = None) -> list[Question]:
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


def without_images(questions: Sequence[Question]) -> list[Question]:
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
    questions: Sequence[Question], answerer: Predictor, path: Path, *, parts: Path, label: str, max_new_tokens: int,
    save_every: int,
) -> None:  # fmt: skip
    """Asks every question and writes the prediction table; goes on after the last finished part.

    Args:
      questions: in the order of the table.
      answerer: the model.
      path: the Parquet file.
      parts: a folder for the answers so far, see `answer_parts`; removed at the end.
      label, max_new_tokens, save_every: see `answer_parts`.
    """
    answer_parts(
        questions, answerer, parts, label=label, max_new_tokens=max_new_tokens, save_every=save_every
    )  # fmt: skip
    merge_parts(questions, path, parts, save_every=save_every)


def answer_parts(
    questions: Sequence[Question], answerer: Predictor, parts: Path, *, label: str, max_new_tokens: int,
    save_every: int, process: int = 0, processes: int = 1, joint: bool = False,
) -> None:  # fmt: skip
    """Asks this process's share of the questions; what is on disk is not asked again.

    Args:
      questions: all of them, in the order of the table.
      answerer: the model.
      parts: the folder of the answers, one file every `save_every` questions.
      label: what the progress lines say.
      max_new_tokens: passed on to the model.
      save_every: questions a part. The model is always handed whole parts, so that how it batches them, and with that
        the bytes it answers, depend neither on where an earlier run was cut off nor on the number of processes.
      process, processes: parts go to the processes in turn.
      joint: the model spans the processes: all of them ask all parts together, and the first one writes.
    """
    if joint:
        process, processes = 0, 1
    mine = range(process * save_every, len(questions), processes * save_every)
    sizes = {start: len(questions[start : start + save_every]) for start in mine}
    there = np.array([_part(parts, start).exists() for start in mine], bool)
    done = {
        start
        for start, written in zip(mine, hosts.broadcast_from_main(there) if joint else there, strict=True)
        if written
    }
    progress = Progress(label, sum(sizes.values()), "questions", done=sum(sizes[start] for start in done))
    for start in mine:
        if start in done:
            continue
        asked = questions[start : start + save_every]
        given = list(progress.over(answerer.answer(asked, max_new_tokens=max_new_tokens)))
        if len(given) != len(asked):
            raise ValueError(f"{label}: {len(given)} answers to {len(asked)} questions")
        if not joint or hosts.is_main():
            files.write_json(_part(parts, start), given)


def merge_parts(questions: Sequence[Question], path: Path, parts: Path, *, save_every: int) -> None:
    """Writes the prediction table from the answers of all processes, and removes their parts."""
    starts = range(0, len(questions), save_every)
    predictions = [answer for start in starts for answer in files.read_json(_part(parts, start))]
    files.write_parquet(path, prediction_table(questions, predictions))
    for part in sorted(parts.glob("*.json")):
        part.unlink()
    parts.rmdir()


def _part(parts: Path, start: int) -> Path:
    return parts / f"{start:08d}.json"


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


def in_words(entry: dict[str, Any]) -> str:
    """An entry in a line: the number, its interval, what guessing and the blind twin give, and the note."""
    text = f"{entry['metric']} {entry['value']:.2f} ({entry['interval'][0]:.2f} to {entry['interval'][1]:.2f}, "
    text += f"n {entry['n']})"
    for name in BASELINES:
        if name in entry["more"]:
            text += f"; {name} {entry['more'][name]:.2f}"
    if "blind" in entry:
        text += f"; blind {entry['blind']['value']:.2f}"
    return text + (f"; {entry['note']}" if entry["note"] else "")
