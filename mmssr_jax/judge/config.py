"""The config section `judge`: the fields of `JudgeConfig`, and the settings of every backend as further fields."""

from __future__ import annotations

import dataclasses
import math
import typing
from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from mmssr_jax.judge.backend import Backend, backend_names, load_backend
from mmssr_jax.judge.draw import SamplingConfig
from mmssr_jax.judge.rubric import rubric_of


@dataclasses.dataclass(frozen=True)
class BackendChoice:
    """A backend and its settings.

    Attributes:
      backend: a module of `judge/backends`.
    """

    backend: str

    def load(self) -> Backend[Any]:
        """The backend."""
        return load_backend(self.backend)

    def settings(self) -> Any:
        """The settings of the backend in use, an instance of `Backend.settings`."""
        cls = self.load().settings
        return cls(**{f.name: getattr(self, f.name) for f in dataclasses.fields(cls)})

    def check_backend(self, *, repeats: bool) -> None:
        """Raises ValueError if there is no such backend, or if its settings are not complete."""
        if self.backend not in backend_names():
            known = ", ".join(map(repr, backend_names()))
            raise ValueError(f"backend: {self.backend!r} is not one of {known}")
        self.load().check(self.settings(), repeats=repeats)


@dataclasses.dataclass(frozen=True)
class OtherJudge(BackendChoice):
    """A further judge, for agreement between judges or for a mean over several.

    Attributes:
      backend: who judges, as in `JudgeConfig`.
      share: the share of the judged samples that it rates too.
    """

    backend: str = "openai"
    share: float = 1.0

    def __post_init__(self) -> None:
        self.check_backend(repeats=False)
        if not 0 < self.share <= 1:
            raise ValueError(f"share is {self.share}, expected more than 0, at most 1")


@dataclasses.dataclass(frozen=True)
class JudgeConfig(BackendChoice):
    """What all backends share of the config section `judge`.

    Attributes:
      backend: who judges: the synthetic pool's truth ("oracle"), ratings from a file ("recorded"), a model behind an
        API, live ("openai") or in batches ("openai_batch"), or a model of this project ("local").
      count: number of samples to judge. Recorded ratings without any of the three take all that were recorded.
      share: instead of `count`, the share of the pool to judge.
      budget_usd: instead of `count`, as many samples as this is expected to pay for, votes and repeats included.
      seed: of the sampling and of the choice of repeats.
      votes: ratings of each sample by the judge; their mean is taken.
      repeat_share: the share of the judged samples that is rated once more, to measure agreement.
      sampling: how the samples to judge are spread over the pool's sources.
      others: further judges by name.
      combine: "first" takes the judge's own ratings; "mean" the mean over it and `others`.
      ask: False sends no requests: the answers in the ledger are parsed again, and a rating that it does not hold
        counts as not answered.
      ask_again: reasons (see `judge.api.retry`) of skipped samples that are requested again.
      capabilities: user-supplied, name -> what it covers; mmSSR's 14 by default.
      styles: user-supplied; mmSSR's nine by default.
    """

    EXCLUSIVE: ClassVar = (("count", "share", "budget_usd"),)

    backend: str = "recorded"
    count: int | None = None
    share: float | None = None
    budget_usd: float | None = None
    seed: int = 0
    votes: int = 1
    repeat_share: float = 0.0
    sampling: SamplingConfig = dataclasses.field(default_factory=SamplingConfig)
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
        if self.budget_usd is not None and not 0 < self.budget_usd < math.inf:
            raise ValueError(f"budget_usd is {self.budget_usd}, expected US dollars, more than 0")
        for name in ("share", "repeat_share"):
            value = getattr(self, name)
            if value is not None and not 0 <= value <= 1:
                raise ValueError(f"{name} is {value}, expected 0-1")
        self.check_backend(repeats=bool(self.repeat_share) or self.votes > 1)
        rubric_of(self.capabilities, self.styles)


def judge_config_class() -> type[JudgeConfig]:
    """`JudgeConfig` with the settings of every backend in the folder as further fields.

    So a key of a backend is written as `config.judge.KEY`, and is checked whether or not the backend is in use.
    """
    fields = _backend_fields()
    other = dataclasses.make_dataclass("OtherJudge", fields, bases=(OtherJudge,), frozen=True)
    others: Any = ("others", Mapping[str, other], dataclasses.field(default_factory=dict))  # type: ignore[valid-type]
    return dataclasses.make_dataclass("JudgeConfig", [*fields, others], bases=(JudgeConfig,), frozen=True)


def _backend_fields() -> list[tuple[str, Any, Any]]:
    """Name, type and default of the settings of all backends."""
    fields: dict[str, tuple[str, Any, Any]] = {}
    for name in backend_names():
        settings = load_backend(name).settings
        hints = typing.get_type_hints(settings)
        for field in dataclasses.fields(settings):
            default = dataclasses.field(default=field.default, default_factory=field.default_factory)
            fields[field.name] = (field.name, hints[field.name], default)
    return list(fields.values())
