"""Answers graded by a language model, for the benchmarks that need one (MM-Vet, MathVista).

    predictions ──grading_prompt──> requests ──Grader──> ledger ──> rows with a `grade` ──Benchmark.score──> metric

Grades are always read from the ledger. It keeps every reply with the judge's name and the time and is append-only. Each
distinct prompt is sent once, even if several runs gave the same answer.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from mmssr_jax.core.errors import UserError
from mmssr_jax.core.files import digest
from mmssr_jax.core.progress import Progress
from mmssr_jax.evaluation.benchmark_registry import Benchmark
from mmssr_jax.evaluation.score import GRADE, Fields
from mmssr_jax.judge.ledger import Key, Ledger, read_ledger


@dataclasses.dataclass(frozen=True)
class GradeRequest:
    """One answer to be graded.

    Attributes:
      id: "<benchmark>/<index>".
      prompt: the judge's prompt; text only.
    """

    id: str
    prompt: str

    @property
    def prompt_hash(self) -> str:
        return digest(self.prompt)


class Grader(Protocol):
    """A language model that replies to prompts.

    Attributes:
      name: the model's name and version; recorded with every result.
    """

    name: str

    def grade(self, requests: Sequence[GradeRequest], ledger: Ledger, progress: Progress) -> None:
        """Appends a `LedgerEntry` per request: judge = `name`, id, prompt_hash and the raw reply.

        Raises:
          UserError: it cannot continue; the replies so far are in the ledger.
        """
        ...


def add_grades(
    answered: Sequence[Fields], benchmark: Benchmark, grader: Grader, path: Path, *, name: str
) -> tuple[list[Fields], dict[str, Any] | None]:
    """Adds the judge's reply to each row that needs one; requests the replies that the ledger lacks.

    Args:
      answered: rows with a `prediction`.
      benchmark: the benchmark, with its grading prompt.
      grader: the judge.
      path: the ledger.
      name: the benchmark's name in the config, for the request ids.

    Returns:
      The rows, with the field `grade` if a grade was needed (empty if the judge skipped the request), and
      `{"name", "from", "to"}`, the judge and the dates of its replies, or None if no grade was needed.

    Raises:
      UserError: the judge stopped, or left requests open.
    """
    prompt = benchmark.grading_prompt
    prompts = [prompt(row) if prompt is not None else None for row in answered]
    requests = [
        GradeRequest(f"{name}/{row['index']}", text)
        for row, text in zip(answered, prompts, strict=True)
        if text is not None
    ]
    if not requests:
        return list(answered), None
    with Ledger(path) as ledger:
        missing = [r for r in requests if _key(grader, r) not in ledger.settled]
        if missing:
            grader.grade(missing, ledger, Progress(f"grading {name} by {grader.name}", len(missing), "answers"))
    wanted = {_key(grader, r) for r in requests}
    entries = {entry.key: entry for entry in read_ledger(path) if entry.settled and entry.key in wanted}
    if len(entries) < len(wanted):
        raise UserError(
            f"{grader.name} left {len(wanted) - len(entries)} of {len(wanted)} answers ungraded; run again to resume"
        )
    replies = iter(entries[_key(grader, r)].raw or "" for r in requests)
    rows = [row if text is None else {**row, GRADE: next(replies)} for row, text in zip(answered, prompts, strict=True)]
    dates = sorted(entry.time[:10] for entry in entries.values())
    return rows, {"name": grader.name, "from": dates[0], "to": dates[-1]}


def _key(grader: Grader, request: GradeRequest) -> Key:
    return (grader.name, request.prompt_hash, request.id, 0)
