"""Answers graded by a language model, for the kinds that need one (MM-Vet, MathVista).

    predictions ──grading_prompt──> requests ──Grader──> ledger ──> rows with a `grade` ──Kind.score──> the number

As for judgments, nothing but the ledger counts: it keeps every reply with the judge's name and the time, it is never
rewritten, and a reply is asked for once, however many runs gave that very answer.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
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
      prompt: what the judge is asked, text alone.
    """

    id: str
    prompt: str

    @property
    def prompt_hash(self) -> str:
        return digest(self.prompt)


class Grader(Protocol):
    """A language model that replies to prompts.

    Attributes:
      name: which it is, with its version; printed beside every number made with it.
    """

    name: str

    def grade(self, requests: Sequence[GradeRequest], ledger: Ledger, progress: Progress) -> None:
        """Appends a `judge.ledger.Entry` for each request: judge = name, id, prompt_hash and the raw reply.

        Raises:
          UserError: it cannot go on; what was replied is in the ledger.
        """
        ...


def grading_prompt_of(kind: Benchmark) -> Callable[[Fields], str | None] | None:
    """The function that asks a judge about an answer, where the kind has one."""
    return getattr(kind, "grading_prompt", None)


def graded(
    answered: Sequence[Fields], kind: Benchmark, grader: Grader, path: Path, *, benchmark: str
) -> tuple[list[Fields], dict[str, Any] | None]:
    """Adds the judge's reply to each row that needs one, asking for those that the ledger does not hold.

    Args:
      answered: rows with a `prediction`.
      kind: the benchmark's kind.
      grader: the judge.
      path: the ledger.
      benchmark: its name, for the ids.

    Returns:
      The rows, with the field `grade` where a grade was needed (empty where the judge gave up on it), and
      `{"name", "from", "to"}`: the judge and the dates of its replies; None where none was needed.

    Raises:
      UserError: the judge stopped, or left requests open.
    """
    prompt = grading_prompt_of(kind)
    prompts = [prompt(row) if prompt is not None else None for row in answered]
    requests = [
        GradeRequest(f"{benchmark}/{row['index']}", text)
        for row, text in zip(answered, prompts, strict=True)
        if text is not None
    ]
    if not requests:
        return list(answered), None
    with Ledger(path) as ledger:
        missing = [r for r in requests if _key(grader, r) not in ledger.settled]
        if missing:
            grader.grade(missing, ledger, Progress(f"grading {benchmark} by {grader.name}", len(missing), "answers"))
    wanted = {_key(grader, r) for r in requests}
    entries = {entry.key: entry for entry in read_ledger(path) if entry.settled and entry.key in wanted}
    if len(entries) < len(wanted):
        raise UserError(f"{grader.name} left {len(wanted) - len(entries)} of {len(wanted)} answers open; run again")
    replies = iter(entries[_key(grader, r)].raw or "" for r in requests)
    rows = [row if text is None else {**row, GRADE: next(replies)} for row, text in zip(answered, prompts, strict=True)]
    dates = sorted(entry.time[:10] for entry in entries.values())
    return rows, {"name": grader.name, "from": dates[0], "to": dates[-1]}


def _key(grader: Grader, request: GradeRequest) -> Key:
    return (grader.name, request.prompt_hash, request.id, 0)
