"""The oracle: ratings from the synthetic pool's true ones, with the noise of a real judge."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Collection, Sequence
from pathlib import Path

import numpy as np

from mmssr_jax.core import config, files
from mmssr_jax.core.artifact import how_to_remake
from mmssr_jax.core.checksums import verify_checksums
from mmssr_jax.core.errors import UserError
from mmssr_jax.core.progress import Progress
from mmssr_jax.core.vocabulary import MAX_SCORE
from mmssr_jax.judge.backend import Backend, JudgeContext
from mmssr_jax.judge.base import Estimate, Request
from mmssr_jax.judge.ledger import Ledger, LedgerEntry, now
from mmssr_jax.judge.rubric import Judgment, Rubric


@dataclasses.dataclass(frozen=True)
class OracleConfig:
    """The oracle's noise; every random number is a function of (seed, sample id, repeat) alone.

    Attributes:
      seed: of the noise.
      off_by_one: probability that a score of 1-5 moves by one.
      false_trace: probability that a score of 0 becomes 1.
      wrong_style: probability that one of the styles is replaced by another.
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
    """Implements `Judge` from `truth.parquet` (id, one integer column per capability slug, styles)."""

    name = "oracle"
    rated_ids: Collection[str] | None = None

    def __init__(self, truth: Path, rubric: Rubric, settings: OracleConfig):
        verify_checksums(truth.parent, repair=how_to_remake(truth.parent))
        table = files.read_parquet(truth, ["id", *rubric.slugs, "styles"])
        scores = zip(*(table[s].to_pylist() for s in rubric.slugs), strict=True)
        self._truth = {
            i: Judgment(tuple(row), tuple(styles))
            for i, row, styles in zip(table["id"].to_pylist(), scores, table["styles"].to_pylist(), strict=True)
        }
        self._path, self._rubric, self._settings = truth, rubric, settings
        self.prompt_hash = config.fingerprint(
            {"truth": files.file_digest(truth), "noise": settings, **rubric.own_names}
        )

    def check(self) -> None:
        """Nothing to check: the file was read at construction."""

    def estimate(self, requests: Sequence[Request]) -> Estimate:
        """Requests are free."""
        return Estimate(len(requests))

    def judge(self, requests: Sequence[Request], ledger: Ledger, progress: Progress) -> None:
        """Rates the samples one after the other.

        Raises:
          UserError: a sample has no true rating.
        """
        for request in requests:
            if request.id not in self._truth:
                raise UserError(
                    f"{self._path} does not know {request.id}: the oracle can judge the synthetic pool only; "
                    "set judge.backend to another judge"
                )
            raw = json.dumps(self.rate(request).answer(self._rubric))
            ledger.append(
                LedgerEntry(
                    request.id, self.name, self.prompt_hash, request.repeat, raw=raw, model=self.name, time=now()
                )
            )
            progress.add()

    def rate(self, request: Request) -> Judgment:
        """The true rating with the noise of this request."""
        truth = self._truth[request.id]
        key = hashlib.sha256(f"{self._settings.seed}\0{request.repeat}\0{request.id}".encode()).digest()
        rng = np.random.Generator(np.random.Philox(key=int.from_bytes(key[:16], "little")))
        scores = np.asarray(truth.scores)
        moved = rng.random(len(scores)) < np.where(scores == 0, self._settings.false_trace, self._settings.off_by_one)
        step = np.where(scores == 0, 1, np.where(rng.random(len(scores)) < 0.5, -1, 1))
        noisy = np.clip(scores + moved * step, 0, MAX_SCORE)
        return Judgment(tuple(int(s) for s in noisy), self._noisy_styles(truth.styles, rng))

    def _noisy_styles(self, styles: tuple[str, ...], rng: np.random.Generator) -> tuple[str, ...]:
        is_wrong = rng.random() < self._settings.wrong_style
        position, others = rng.integers(len(styles)), [s for s in self._rubric.styles if s not in styles]
        if not is_wrong or not others:
            return styles
        replaced = list(styles)
        replaced[position] = others[rng.integers(len(others))]
        return tuple(replaced)


@dataclasses.dataclass(frozen=True)
class OracleSettings:
    """The keys of `config.judge` for this backend.

    Attributes:
      oracle: the noise of the ratings.
    """

    oracle: OracleConfig = dataclasses.field(default_factory=OracleConfig)


class OracleBackend(Backend[OracleSettings]):
    """The synthetic pool's true ratings."""

    settings = OracleSettings

    def make(self, settings: OracleSettings, context: JudgeContext) -> OracleJudge:
        """The judge.

        Raises:
          UserError: the pool is not synthetic.
        """
        if not context.truth.exists():
            raise UserError(
                f"{context.truth}: no such file; the oracle judges the synthetic pool only, set judge.backend"
            )
        return OracleJudge(context.truth, context.rubric, settings.oracle)


BACKEND = OracleBackend()
