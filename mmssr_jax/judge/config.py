"""The config section `judge`."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Literal

from mmssr_jax.judge.api.config import ApiConfig
from mmssr_jax.judge.backends.local_config import LocalConfig
from mmssr_jax.judge.backends.oracle import OracleConfig
from mmssr_jax.judge.draw import SamplingConfig
from mmssr_jax.judge.rubric import rubric_of

Backend = Literal["oracle", "recorded", "openai", "openai_batch", "local"]


@dataclasses.dataclass(frozen=True)
class OtherJudge:
    """A further judge, for agreement between judges or for a mean over several.

    Attributes:
      api: the model and its server.
      local: a model of this project instead (backend "local").
      backend: live, in batches, or on this machine.
      share: of the judged samples, those that it rates too.
    """

    api: ApiConfig | None = None
    local: LocalConfig | None = None
    backend: Literal["openai", "openai_batch", "local"] = "openai"
    share: float = 1.0

    def __post_init__(self) -> None:
        _check_model(self.backend, self.api)
        if not 0 < self.share <= 1:
            raise ValueError(f"share is {self.share}, expected more than 0, at most 1")


def _check_model(backend: str, api: ApiConfig | None) -> None:
    if backend in ("openai", "openai_batch") and api is None:
        raise ValueError("api is not set; give at least --config.judge.api.model=MODEL")


@dataclasses.dataclass(frozen=True)
class JudgeConfig:
    """The config section `judge`.

    Attributes:
      backend: who judges: the synthetic pool's truth, ratings from a file, a model behind an API, live or in
        batches, or a model of this project ("local").
      count: how many samples are judged; or `share` of the pool; or as many as `budget_usd` is expected to pay for,
        votes and repeats included. A recorded judge's default is all it rated.
      seed: of the draw and of the choice of repeats.
      recorded: a file of ratings (JSONL: id, scores, styles).
      recorded_repeat: a second file, to measure agreement.
      api: the model behind an API.
      local: the model of this project; the base model where not given.
      votes: ratings of each sample by the judge, whose mean is taken.
      repeat_share: the share of the judged samples that is rated once more, to measure agreement.
      others: further judges by name.
      combine: "first" takes the judge's own ratings; "mean" the mean over it and `others`.
      ask: False asks nobody: the answers in the ledger are read again, and what it does not hold counts as not
        answered.
      ask_again: reasons (see `judge.outcomes`) of skipped samples that are asked for again.
      capabilities: a user's own, name -> what it covers; mmSSR's 14 where not given.
      styles: a user's own; mmSSR's nine where not given.
    """

    backend: Backend = "recorded"
    count: int | None = None
    share: float | None = None
    budget_usd: float | None = None
    seed: int = 0
    recorded: str | None = None
    recorded_repeat: str | None = None
    votes: int = 1
    repeat_share: float = 0.0
    sampling: SamplingConfig = dataclasses.field(default_factory=SamplingConfig)
    oracle: OracleConfig = dataclasses.field(default_factory=OracleConfig)
    api: ApiConfig | None = None
    local: LocalConfig | None = None
    others: Mapping[str, OtherJudge] = dataclasses.field(default_factory=dict)
    combine: Literal["first", "mean"] = "first"
    ask: bool = True
    ask_again: tuple[str, ...] = ()
    capabilities: Mapping[str, str] | None = None
    styles: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        given = [n for n in ("count", "share", "budget_usd") if getattr(self, n) is not None]
        if len(given) > 1:
            raise ValueError(f"{' and '.join(given)} are both set; give one of them")
        for name in ("count", "votes"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name} is {value}, expected 1 or more")
        for name in ("share", "repeat_share"):
            value = getattr(self, name)
            if value is not None and not 0 <= value <= 1:
                raise ValueError(f"{name} is {value}, expected 0-1")
        self._check_backend()
        rubric_of(self.capabilities, self.styles)

    def _check_backend(self) -> None:
        if self.backend == "recorded":
            if self.recorded is None:
                raise ValueError("recorded is not set; give --config.judge.recorded=JUDGMENTS.jsonl")
            if self.repeat_share or self.votes > 1:
                raise ValueError("a recorded judge cannot be asked again; give its second ratings as recorded_repeat")
        _check_model(self.backend, self.api)
        local = self.local or LocalConfig()
        if self.backend == "local" and not local.temperature and (self.repeat_share or self.votes > 1):
            raise ValueError("votes and repeats of a local judge are all equal at temperature 0; set local.temperature")
        if self.budget_usd is not None and (self.api is None or self.api.price is None):
            raise ValueError("budget_usd needs an API judge whose model has a price (api.prices)")
