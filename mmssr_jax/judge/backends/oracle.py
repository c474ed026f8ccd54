"""The oracle: a judge that knows the synthetic pool's truth, with the noise of a real judge."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mmssr_jax.core import config, files
from mmssr_jax.core.errors import UserError
from mmssr_jax.core.progress import Progress
from mmssr_jax.core.vocabulary import MAX_SCORE
from mmssr_jax.judge.base import Estimate, Request
from mmssr_jax.judge.ledger import Ledger, LedgerEntry, now
from mmssr_jax.judge.rubric import Judgment, Rubric


@dataclasses.dataclass(frozen=True)
class OracleConfig:
    """How the oracle errs; every draw is a function of (seed, sample id, repeat) alone.

    Attributes:
      seed: of the noise.
      off_by_one: chance that a score of 1-5 moves by one.
      false_trace: chance that a score of 0 becomes 1.
      wrong_style: chance that one of the styles is replaced by another.
    """

    seed: int = 0
    off_by_one: float = 0.2
    false_trace: float = 0.03
    wrong_style: float = 0.03

    def __post_init__(self) -> None:
        for name in ("off_by_one", "false_trace", "wrong_style"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} is {getattr(self, name)}, expected a probability")


class OracleJudge:
    """Answers from `truth.parquet` (id, one integer column per capability slug, styles)."""

    name = "oracle"

    def __init__(self, truth: Path, rubric: Rubric, settings: OracleConfig):
        table = files.read_parquet(truth, ["id", *rubric.slugs, "styles"])
        scores = zip(*(table[s].to_pylist() for s in rubric.slugs), strict=True)
        self._truth = {
            i: Judgment(tuple(row), tuple(styles))
            for i, row, styles in zip(table["id"].to_pylist(), scores, table["styles"].to_pylist(), strict=True)
        }
        self._path, self._rubric, self._settings = truth, rubric, settings
        self.prompt_hash = config.fingerprint({"truth": files.file_digest(truth), "noise": settings})

    def check(self) -> None:
        """Nothing is missing: the file was read."""

    def estimate(self, requests: Sequence[Request]) -> Estimate:
        """Free."""
        return Estimate(len(requests))

    def judge(self, requests: Sequence[Request], ledger: Ledger, progress: Progress) -> None:
        """Answers one after the other.

        Raises:
          UserError: a sample is not in the truth.
        """
        for request in requests:
            if request.id not in self._truth:
                raise UserError(
                    f"{self._path} does not know {request.id}: the oracle can judge the synthetic pool only; "
                    "set config.judge.backend to another judge"
                )
            raw = json.dumps(self.rate(request).answer(self._rubric))
            ledger.append(
                LedgerEntry(
                    request.id, self.name, self.prompt_hash, request.repeat, raw=raw, model=self.name, time=now()
                )
            )
            progress.add()

    def rate(self, request: Request) -> Judgment:
        """The truth with this request's noise."""
        truth = self._truth[request.id]
        key = hashlib.sha256(f"{self._settings.seed}\0{request.repeat}\0{request.id}".encode()).digest()
        rng = np.random.Generator(np.random.Philox(key=int.from_bytes(key[:16], "little")))
        scores = np.asarray(truth.scores)
        moved = rng.random(len(scores)) < np.where(scores == 0, self._settings.false_trace, self._settings.off_by_one)
        step = np.where(scores == 0, 1, np.where(rng.random(len(scores)) < 0.5, -1, 1))
        noisy = np.clip(scores + moved * step, 0, MAX_SCORE)
        return Judgment(tuple(int(s) for s in noisy), self._noisy_styles(truth.styles, rng))

    def _noisy_styles(self, styles: tuple[str, ...], rng: np.random.Generator) -> tuple[str, ...]:
        wrong = rng.random() < self._settings.wrong_style
        place, others = rng.integers(len(styles)), [s for s in self._rubric.styles if s not in styles]
        if not wrong or not others:
            return styles
        replaced = list(styles)
        replaced[place] = others[rng.integers(len(others))]
        return tuple(replaced)
