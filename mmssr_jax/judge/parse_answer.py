"""From the raw answers in the ledger to `judgments.parquet`; can be run again at any time without a request."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from mmssr_jax.core.tables import judgment_schema
from mmssr_jax.judge.ledger import Key, read_ledger
from mmssr_jax.judge.rubric import MAX_STYLES, Judgment, Rubric, checked

_THINKING = re.compile(r"\s*<think>.*?(?:</think>|\Z)", re.DOTALL)
_OBJECT_START = re.compile(r'\{\s*"')


def parse_answer(raw: str, rubric: Rubric) -> Judgment:
    """The judgment in an answer: one JSON object with a field per capability slug, `styles`, maybe `rationale`.

    Models without strict schemas write text, drafts or a `<think>` part before the object: the last object that is a
    valid judgment counts. A repeated style counts once.

    Raises:
      ValueError: there is no JSON object, or the last one is not a valid judgment; one line.
    """
    thinking = _THINKING.match(raw)
    problem = ""
    for answer in reversed(_json_objects(raw[thinking.end() :] if thinking else raw)):
        try:
            return _judgment(answer, rubric)
        except ValueError as e:
            problem = problem or str(e)
    raise ValueError(problem or "the answer is not JSON")


def _json_objects(text: str) -> list[dict[str, Any]]:
    """The outermost JSON objects in a text, in order."""
    objects, end = [], 0
    decoder = json.JSONDecoder()
    while (start := _OBJECT_START.search(text, end)) is not None:
        try:
            value, end = decoder.raw_decode(text, start.start())
            objects.append(value)
        except (ValueError, RecursionError):
            end = start.start() + 1
    return objects


def _judgment(answer: Mapping[str, Any], rubric: Rubric) -> Judgment:
    """The fields of an answer as a judgment; raises ValueError."""
    absent = [s for s in (*rubric.slugs, "styles") if s not in answer]
    if absent:
        raise ValueError(f"the answer lacks {', '.join(absent)}")
    if not isinstance(answer["styles"], list):
        raise ValueError("styles is not a list")
    styles = list(dict.fromkeys(s if isinstance(s, str) else repr(s) for s in answer["styles"]))
    return checked([answer[s] for s in rubric.slugs], styles, rubric, str(answer.get("rationale", "")))


@dataclasses.dataclass(frozen=True)
class JudgeRatings:
    """The content of a ledger for some ratings.

    Attributes:
      judgments: the first valid answer to each rating.
      skipped: the reason of each rating that was skipped.
      lines: number of ledger lines about these ratings, by outcome and reason.
      usage: summed token counts.
      cost: US dollars.
    """

    judgments: Mapping[Key, Judgment]
    skipped: Mapping[Key, str]
    lines: Mapping[str, int]
    usage: Mapping[str, int]
    cost: float


def read_ratings(path: Path, keys: set[Key], rubric: Rubric) -> JudgeRatings:
    """Reads the answers to `keys` from a ledger; lines about other ratings are ignored.

    Raises:
      UserError: a line of the ledger is broken.
    """
    judgments: dict[Key, Judgment] = {}
    skipped: dict[Key, str] = {}
    lines: dict[str, int] = {}
    usage: dict[str, int] = {}
    costs: list[float] = []
    for entry in read_ledger(path):
        if entry.key not in keys:
            continue
        label = f"{entry.outcome}: {entry.reason}" if entry.reason else entry.outcome
        lines[label] = lines.get(label, 0) + 1
        costs.append(entry.cost)
        for name, count in entry.usage.items():
            usage[name] = usage.get(name, 0) + count
        if entry.raw is not None and entry.key not in judgments:
            with contextlib.suppress(ValueError):
                judgments[entry.key] = parse_answer(entry.raw, rubric)
        if entry.outcome == "skip":
            skipped[entry.key] = entry.reason
    skipped = {k: reason for k, reason in skipped.items() if k not in judgments}
    return JudgeRatings(
        judgments, dict(sorted(skipped.items())), dict(sorted(lines.items())), usage, sum(sorted(costs))
    )


def combined(ratings: Sequence[Judgment], rubric: Rubric) -> Judgment:
    """The mean of several ratings of one sample: scores are rounded half up, styles are those that most ratings name.

    Styles are ordered by the number of ratings that name them, then by their mean position, then by the rubric. The
    first is always kept, others if more than half of the ratings name them, three at most.
    """
    n = len(ratings)
    if n == 1:
        return ratings[0]
    scores = tuple((2 * sum(column) + n) // (2 * n) for column in zip(*(r.scores for r in ratings), strict=True))
    positions = {s: [r.styles.index(s) for r in ratings if s in r.styles] for s in rubric.styles}
    ranked = sorted(
        (s for s in rubric.styles if positions[s]),
        key=lambda s: (-len(positions[s]), sum(positions[s]) / len(positions[s]), rubric.styles.index(s)),
    )
    kept = [s for i, s in enumerate(ranked) if i == 0 or 2 * len(positions[s]) > n]
    return Judgment(scores, tuple(kept[:MAX_STYLES]))


@dataclasses.dataclass(frozen=True)
class JudgedSample:
    """One row of `judgments.parquet`."""

    id: str
    source: str
    judgment: Judgment
    judge: str
    prompt_hash: str


def judgment_table(rows: Sequence[JudgedSample], rubric: Rubric) -> pa.Table:
    """The table of `core.tables.judgment_schema`, in the order of `rows`."""
    columns: dict[str, list[object]] = {"id": [r.id for r in rows], "source": [r.source for r in rows]}
    for i, slug in enumerate(rubric.slugs):
        columns[slug] = [r.judgment.scores[i] for r in rows]
    columns["styles"] = [list(r.judgment.styles) for r in rows]
    columns["judge"] = [r.judge for r in rows]
    columns["prompt_hash"] = [r.prompt_hash for r in rows]
    return pa.table(columns, schema=judgment_schema(rubric.slugs))
