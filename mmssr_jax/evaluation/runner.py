"""Predictions of a model on a benchmark, saved in parts, and the scores computed from them afterwards.

    questions ──Predictor──> predictions/<run>/<benchmark>.parquet ──Benchmark.score──> an entry of results/<run>.json

The prediction table has only string columns: `index`, `question`, `answer`, `prediction`, then the file's other columns
in their order, without the images; an empty cell is null. A result holds `run`, `averages` (in percent: "all", the mean
over every benchmark, and the configured averages) and `benchmarks`, with an entry for each:

    prompt                the kit whose form the prompts had: "vlmevalkit", "lmms_eval" or "llava"
    kind, metric          the benchmark's kind and its metric; `value` is in the metric's unit (MME: 0-2800)
    value, interval       the metric and its 95 % bootstrap interval over the units (seeded)
    percent               value on a scale of 0-100, for averages over benchmarks
    n, questions          number of units (MMBench: circular groups; MME: images) and of questions
    categories, groups    the metric within each `category`; `l2-category`, `split`, `type`: {name: {value, n}}
    more                  further metrics by name, such as the accuracy of random guessing
    note                  what a reader must know, such as "exact match, no judge"
    blind                 for a run with a no-image baseline: {value: the baseline's metric, gain: the run's minus it,
                          interval: of the gain, bootstrapped over the questions of both}
    judge                 if a language model graded: {name, from, to}, the dates of its replies
    predictions           the digest of the prediction table
    answering, rank_by    "rank" and "texts" or "letters", if the options were ranked; absent for written answers
    ranked                if they were ranked: measure -> {value, interval}; ranking.py lists the measures

A ranked prediction table has further columns, which ranking.py lists.
"""

from __future__ import annotations

import dataclasses
import functools
import io
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, TypeVar

import pyarrow as pa
from PIL import Image

from mmssr_jax.core import files
from mmssr_jax.core.errors import UserError
from mmssr_jax.core.json_format import json_numbers
from mmssr_jax.core.progress import Progress
from mmssr_jax.core.sample import ImageRef
from mmssr_jax.core.shards import Processes, ShardedJob
from mmssr_jax.evaluation.benchmark import Question, Row
from mmssr_jax.evaluation.benchmark_registry import Benchmark
from mmssr_jax.evaluation.prompt_kits import Kit
from mmssr_jax.evaluation.ranking import COLUMNS, Ranker
from mmssr_jax.evaluation.score import Fields, Score, bootstrap, summary

LEADING_COLUMNS = ("index", "question", "answer", "prediction")
NO_IMAGE_SUFFIX = "_blind"  # the no-image baseline of run X is run X_blind
TRIVIAL_BASELINES = ("chance", "constant box", "always yes", 'always "unanswerable"')
"""Names in `more` of scores that need no model."""
_GRAY = (127, 127, 127)


T = TypeVar("T")
Prediction = str | Mapping[str, str]
"""An answer, or the columns of a ranked one."""


class Predictor(Ranker, Protocol):
    """A model that answers questions, and gives the likelihood of given answers."""

    def predict(self, questions: Sequence[Question], *, max_new_tokens: int) -> Iterator[str]:
        """Yields one answer per question, in order, of at most `max_new_tokens` tokens each."""
        ...


def make_questions(
    benchmark: Benchmark, rows: list[Row], *, instruction: str | None = None, kit: Kit = "vlmevalkit"
) -> list[Question]:
    """The questions of a benchmark.

    Args:
      benchmark: selects the rows and makes their prompts.
      rows: of the benchmark file.
      instruction: replaces the prompt's closing instruction.
      kit: whose form the prompts have.

    Raises:
      UserError: no row is left, a row does not fit the benchmark, or the kit's form is not known.
    """
    ask = benchmark.asks(kit)
    selected = benchmark.load(rows)
    if not selected:
        raise UserError("the benchmark has no question")
    for row in selected:
        reserved = next((name for name in ("prediction", *COLUMNS) if name in row.fields), None)
        if reserved is not None:
            raise UserError(f"the file has a column {reserved!r}, which is reserved for the output; rename it")
    return [ask(row, instruction) for row in selected]


def without_images(questions: Sequence[Question]) -> list[Question]:
    """The questions of the no-image baseline: each image is gray, of the same size, so that token counts are equal."""
    blanks: dict[tuple[int, int], ImageRef] = {}

    def blank(ref: ImageRef) -> ImageRef:
        with Image.open(io.BytesIO(ref.read())) as image:
            size = image.size
        if size not in blanks:
            buffer = io.BytesIO()
            Image.new("RGB", size, _GRAY).save(buffer, format="PNG")
            blanks[size] = ImageRef(data=buffer.getvalue())
        return dataclasses.replace(blanks[size], clip=ref.clip, time=ref.seconds())

    return [dataclasses.replace(q, images=tuple(blank(ref) for ref in q.images)) for q in questions]


def predict_parts(
    questions: Sequence[Question], predictor: Predictor, parts: Path, *, label: str, max_new_tokens: int,
    save_every: int, lock: Path, processes: Processes | None = None,
) -> None:  # fmt: skip
    """Predicts the parts of the questions that are not on disk, shared with the other processes.

    Args:
      questions: all questions, in the order of the table.
      predictor: the model.
      max_new_tokens: maximum length of an answer.
      parts, label, save_every, lock, processes: see `answer_parts`.
    """
    answer_parts(
        questions, functools.partial(predictor.predict, max_new_tokens=max_new_tokens), parts, label=label,
        save_every=save_every, lock=lock, processes=processes,
    )  # fmt: skip


def answer_parts(
    questions: Sequence[T], answer: Callable[[Sequence[T]], Iterable[Prediction]], parts: Path, *, label: str,
    save_every: int, lock: Path, processes: Processes | None = None,
) -> None:  # fmt: skip
    """Answers the parts of the questions that are not on disk, shared with the other processes.

    Args:
      questions: all questions, in the order of the table.
      answer: the model; gives one answer per question, in order.
      parts: the folder of the answers, one file per `save_every` questions.
      label: the label of the progress lines.
      save_every: questions per part. The model always receives whole parts, so that the batches, and therefore the
        answers' bytes, depend neither on where an earlier run was interrupted nor on the number of processes.
      lock: the lock file of the parts.
      processes: the group that works on them; this process alone by default.
    """
    starts = range(0, len(questions), save_every)
    with ShardedJob(len(starts), lambda n: _part(parts, starts[n]).exists(), lock=lock, processes=processes) as job:
        done = sum(min(save_every, len(questions) - starts[n]) for n in job.done())
        progress = Progress(label, len(questions), "questions", done=done)
        for n in job.todo():
            part = questions[starts[n] : starts[n] + save_every]
            answers = list(progress.over(iter(answer(part))))
            if len(answers) != len(part):
                raise ValueError(f"{label}: {len(answers)} answers to {len(part)} questions")
            if job.writes:
                files.write_json(_part(parts, starts[n]), answers)


def merge_parts(questions: Sequence[Question], path: Path, parts: Path, *, save_every: int) -> None:
    """Writes the prediction table from the parts of all processes, and deletes the parts.

    Raises:
      UserError: a part is damaged.
    """
    starts = range(0, len(questions), save_every)
    predictions: list[Any] = []
    for start in starts:
        answers = files.read_json(_part(parts, start))
        if not isinstance(answers, list) or len(answers) != min(save_every, len(questions) - start):
            raise UserError(f"{_part(parts, start)}: damaged; delete the file and run the same command again")
        predictions += answers
    files.write_parquet(path, prediction_table(questions, predictions))
    shutil.rmtree(parts)  # with the half-written files of killed processes; all parts are done, so nobody writes here


def _part(parts: Path, start: int) -> Path:
    return parts / f"{start:08d}.json"


def prediction_table(questions: Sequence[Question], predictions: Sequence[Prediction]) -> pa.Table:
    """One row per question; the module docstring describes the columns."""
    columns = [{"prediction": p} if isinstance(p, str) else p for p in predictions]
    names = dict.fromkeys(LEADING_COLUMNS)
    for question in questions:
        names.update(dict.fromkeys(question.fields))
    for column in columns:
        names.update(dict.fromkeys(column))
    rows = [{**q.fields, **column} for q, column in zip(questions, columns, strict=True)]
    schema = pa.schema([(name, pa.string()) for name in names])
    return pa.Table.from_pylist(rows, schema=schema)


def read_predictions(path: Path) -> list[Fields]:
    """The rows of a prediction table, without null cells.

    Raises:
      UserError: there is no such file, or a leading column is missing.
    """
    table = files.read_parquet(path)
    missing = [name for name in ("index", "prediction") if name not in table.column_names]
    if missing:
        raise UserError(f"{path}: has no column {', '.join(missing)}; is it a prediction table?")
    return [
        {**{k: v for k, v in row.items() if v is not None}, "prediction": row["prediction"] or ""}
        for row in table.to_pylist()
    ]


def result_entry(
    score: Score, path: Path, *, questions: int, seed: int, judge: dict[str, Any] | None = None
) -> dict[str, Any]:
    """One benchmark's entry in a result; the module docstring describes its fields.

    Args:
      score: computed from the prediction table.
      path: that table.
      questions: the number of questions.
      seed: seed of the bootstrap.
      judge: the judge's name and dates.
    """
    result = {**summary(score, seed=seed), "questions": questions, "predictions": files.file_digest(path)}
    if score.variants:
        result["ranked"] = json_numbers(
            {
                name: {"value": v.value(), "interval": list(bootstrap(v, seed=seed))}
                for name, v in score.variants.items()
            }
        )
    return result if judge is None else {**result, "judge": judge}


def format_entry(entry: dict[str, Any]) -> str:
    """An entry in one line: metric, interval, trivial baselines, no-image baseline and note."""
    low, high = entry["interval"]
    text = f"{entry['metric']} {_points(entry['value'])} ({_points(low)} to {_points(high)}, n {entry['n']})"
    for name in TRIVIAL_BASELINES:
        if name in entry["more"]:
            text += f"; {name} {_points(entry['more'][name])}"
    if "blind" in entry:
        text += f"; no image {_points(entry['blind']['value'])}"
    for name, measure in entry.get("ranked", {}).items():
        text += f"; {name} {_points(measure['value'])}"
    return text + (f"; {entry['note']}" if entry["note"] else "")


def _points(value: float | None) -> str:
    """Two decimals; a dash for what is not a number."""
    return "–" if value is None else f"{value:.2f}"
