"""A judge that replays ratings made elsewhere.

JSONL, one line a sample: `{"id": ..., "scores": [integers 0-5 in the rubric's order], "styles": [1-3 names]}`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from mmssr_jax.core import config, files
from mmssr_jax.core.errors import UserError
from mmssr_jax.core.progress import Progress
from mmssr_jax.judge.base import Estimate, Request
from mmssr_jax.judge.ledger import Ledger, LedgerEntry, now
from mmssr_jax.judge.rubric import Judgment, Rubric, checked


def read_recorded(path: Path, rubric: Rubric) -> dict[str, Judgment]:
    """Ratings by sample id, in the file's order.

    Raises:
      UserError: the file is missing or empty, or a line does not fit; the line names number and id.
    """
    found: dict[str, Judgment] = {}
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
        if sample_id in found:
            raise UserError(f"{where}: this id was rated before in the same file; give repeats as recorded_repeat")
        try:
            found[sample_id] = checked(row["scores"], row["styles"], rubric, str(row.get("rationale", "")))
        except ValueError as e:
            raise UserError(f"{where}: {e}") from None
    if not found:
        raise UserError(f"{path}: holds no ratings")
    return found


def matched(
    ratings: Mapping[str, Judgment], ids: Sequence[str] | np.ndarray, orig_ids: Sequence[str | None]
) -> dict[str, Judgment]:
    """The ratings by the pool's ids: a rating names its sample by the pool's id, or else by the record's own.

    Ratings of samples that the pool does not hold, or whose own id several records share, are left out.

    Args:
      ids: the pool's ids.
      orig_ids: the records' own ids, in the same order; None where a record has none.
    """
    known = set(ids)
    owners: dict[str, list[str]] = {}
    for sample_id, orig_id in zip(ids, orig_ids, strict=True):
        if orig_id is not None and orig_id in ratings and orig_id not in known:
            owners.setdefault(orig_id, []).append(sample_id)
    found = {}
    for name, rating in ratings.items():
        owner = [name] if name in known else owners.get(name, [])
        if len(owner) == 1:
            found[owner[0]] = rating
    return found


class RecordedJudge:
    """Answers from a file of ratings; another content of the file is another judge.

    Attributes:
      recorded: how many ratings the file holds.
      ratings: those of samples in the pool, by the pool's ids.

    Raises:
      UserError: the file does not fit (see `read_recorded`), or none of its ids is in the pool.
    """

    def __init__(self, path: Path, rubric: Rubric, ids: Sequence[str] | np.ndarray, orig_ids: Sequence[str | None]):
        self._path, self._rubric = path, rubric
        ratings = read_recorded(path, rubric)
        self.recorded = len(ratings)
        self.ratings = matched(ratings, ids, orig_ids)
        if not self.ratings:
            raise UserError(
                f"{path}: none of its {len(ratings)} ids is in the pool (the first is {next(iter(ratings))}); "
                "is config.pool.id the field that names these ids?"
            )
        self.name = f"recorded:{path.name}"
        self.prompt_hash = config.fingerprint({"recorded": files.file_digest(path)})

    def check(self) -> None:
        """Nothing is missing: the file was read."""

    def estimate(self, requests: Sequence[Request]) -> Estimate:
        """Free."""
        return Estimate(len(requests))

    def judge(self, requests: Sequence[Request], ledger: Ledger, progress: Progress) -> None:
        """Copies the ratings into the ledger.

        Raises:
          UserError: a sample was not rated.
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
