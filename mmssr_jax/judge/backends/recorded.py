"""A judge that replays ratings from a file.

The file is JSONL, one line per sample:

    {"id": ..., "scores": [integers 0-5 in the rubric's order], "styles": [1-3 names]}
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

import numpy as np
from absl import logging

from mmssr_jax.core import config, files
from mmssr_jax.core.errors import UserError
from mmssr_jax.core.progress import Progress
from mmssr_jax.judge.backend import Backend, JudgeContext
from mmssr_jax.judge.base import Estimate, Request
from mmssr_jax.judge.ledger import Ledger, LedgerEntry, now
from mmssr_jax.judge.rubric import Judgment, Rubric, checked


def read_recorded(path: Path, rubric: Rubric) -> dict[str, Judgment]:
    """Ratings by sample id, in the file's order.

    Raises:
      UserError: the file is missing or empty, or a line is invalid; the message gives its number and id.
    """
    ratings: dict[str, Judgment] = {}
    for number, row in enumerate(files.read_jsonl(path), 1):
        sample_id = row.get("id")
        if not isinstance(sample_id, str) or not sample_id:
            raise UserError(f"{path}: rating {number} has no 'id' (a string)")
        where = f"{path}: rating {number} ({sample_id})"
        for name in ("scores", "styles"):
            if not isinstance(row.get(name), list):
                raise UserError(f"{where} has no list {name!r}")
        unknown = sorted(row.keys() - {"id", "scores", "styles", "rationale"})
        if unknown:
            raise UserError(f"{where} has an unknown field {unknown[0]!r}; known are id, scores, styles, rationale")
        if sample_id in ratings:
            raise UserError(f"{where}: this id was rated before in the same file; give repeats as recorded_repeat")
        try:
            ratings[sample_id] = checked(row["scores"], row["styles"], rubric, str(row.get("rationale", "")))
        except ValueError as e:
            raise UserError(f"{where}: {e}") from None
    if not ratings:
        raise UserError(f"{path}: holds no ratings")
    return ratings


def matched(
    ratings: Mapping[str, Judgment], ids: Sequence[str] | np.ndarray, orig_ids: Sequence[str | None]
) -> dict[str, Judgment]:
    """The ratings by the pool's ids: a rating gives the pool's id of its sample, or else the id in the source record.

    Ratings of samples that are not in the pool, and those whose source id several records share, are left out.

    Args:
      ids: the pool's ids, [N].
      orig_ids: the ids in the source records, [N]; None if a record has none.
    """
    known = set(ids)
    owners: dict[str, list[str]] = {}
    for sample_id, orig_id in zip(ids, orig_ids, strict=True):
        if orig_id is not None and orig_id in ratings and orig_id not in known:
            owners.setdefault(orig_id, []).append(sample_id)
    by_pool_id = {}
    for name, rating in ratings.items():
        owner = [name] if name in known else owners.get(name, [])
        if len(owner) == 1:
            by_pool_id[owner[0]] = rating
    return by_pool_id


class RecordedJudge:
    """Implements `Judge` from a file of ratings; different content, or another rubric, is a different judge.

    Attributes:
      recorded: number of ratings in the file.
      ratings: the ratings of samples in the pool, by the pool's ids.

    Raises:
      UserError: the file is invalid (see `read_recorded`), or none of its ids is in the pool.
    """

    def __init__(self, path: Path, rubric: Rubric, ids: Sequence[str] | np.ndarray, orig_ids: Sequence[str | None]):
        self._path, self._rubric = path, rubric
        ratings = read_recorded(path, rubric)
        self.recorded = len(ratings)
        self.ratings = matched(ratings, ids, orig_ids)
        if not self.ratings:
            raise UserError(
                f"{path}: none of its {len(ratings)} ids is in the pool (the first is {next(iter(ratings))}); "
                "is pool.id the field that holds these ids?"
            )
        self.name = f"recorded:{path.name}"
        self.prompt_hash = config.fingerprint({"recorded": files.file_digest(path), **rubric.own_names})

    @property
    def rated_ids(self) -> Collection[str]:
        """The samples with a rating."""
        return self.ratings.keys()

    def check(self) -> None:
        """Nothing to check: the file was read at construction."""

    def estimate(self, requests: Sequence[Request]) -> Estimate:
        """Requests are free."""
        return Estimate(len(requests))

    def judge(self, requests: Sequence[Request], ledger: Ledger, progress: Progress) -> None:
        """Copies the ratings into the ledger.

        Raises:
          UserError: a sample has no rating.
        """
        for request in requests:
            if request.id not in self.ratings:
                raise UserError(f"{self._path}: holds no rating of {request.id}")
            raw = json.dumps(self.ratings[request.id].answer(self._rubric), ensure_ascii=False)
            ledger.append(
                LedgerEntry(
                    request.id, self.name, self.prompt_hash, request.repeat, raw=raw, model=self.name, time=now()
                )
            )
            progress.add()


@dataclasses.dataclass(frozen=True)
class RecordedSettings:
    """The keys of `config.judge` for this backend.

    Attributes:
      recorded: a file of ratings (JSONL: id, scores, styles).
      recorded_repeat: a second file, to measure agreement.
    """

    recorded: str | None = None
    recorded_repeat: str | None = None


class RecordedBackend(Backend[RecordedSettings]):
    """Ratings from a file."""

    settings = RecordedSettings

    def check(self, settings: RecordedSettings, *, repeats: bool) -> None:
        """Raises ValueError if there is no file, or if ratings are repeated."""
        if settings.recorded is None:
            raise ValueError("recorded is not set; give a JSONL file of ratings as --WHERE.recorded=JUDGMENTS.jsonl")
        if repeats:
            raise ValueError("recorded ratings cannot be repeated; give second ratings as recorded_repeat")

    def make(self, settings: RecordedSettings, context: JudgeContext) -> RecordedJudge:
        """The judge; ratings of samples that are not in the pool are counted in a warning."""
        assert settings.recorded is not None  # checked
        return _open(Path(settings.recorded), context)

    def make_repeat_judge(self, settings: RecordedSettings, context: JudgeContext) -> RecordedJudge | None:
        """The judge of `recorded_repeat`."""
        return None if settings.recorded_repeat is None else _open(Path(settings.recorded_repeat), context)

    def input_files(self, settings: RecordedSettings) -> Mapping[str, Path]:
        """The files of ratings."""
        paths = {"recorded": settings.recorded, "recorded_repeat": settings.recorded_repeat}
        return {name: Path(path) for name, path in paths.items() if path is not None}


def _open(path: Path, context: JudgeContext) -> RecordedJudge:
    judge = RecordedJudge(path, context.rubric, context.pool.ids, context.pool.index["orig_id"].to_pylist())
    unknown = judge.recorded - len(judge.ratings)
    if unknown:
        logging.warning(
            "%s: %d of its %d ratings are of samples that are not in the pool", path, unknown, judge.recorded
        )
    return judge


BACKEND = RecordedBackend()
