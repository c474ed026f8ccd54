"""A model of this project on this machine; see `judge.local_model`."""

from __future__ import annotations

import dataclasses

from mmssr_jax.judge.backend import Backend, JudgeContext
from mmssr_jax.judge.base import Judge
from mmssr_jax.judge.local_model.config import LocalConfig


@dataclasses.dataclass(frozen=True)
class LocalSettings:
    """The keys of `config.judge` for this backend.

    Attributes:
      local: the model and its prompts; the base model by default.
    """

    local: LocalConfig | None = None


class LocalBackend(Backend[LocalSettings]):
    """A model of this project."""

    settings = LocalSettings

    def check(self, settings: LocalSettings, *, repeats: bool) -> None:
        """Raises ValueError if all repeats would be equal."""
        local = settings.local or LocalConfig()
        if repeats and not local.temperature:
            raise ValueError("votes and repeats of a local judge are all equal at temperature 0; set local.temperature")

    def make(self, settings: LocalSettings, context: JudgeContext) -> Judge:
        """The judge; its model is loaded at the first request."""
        from mmssr_jax.judge.local_model.judge import LocalJudge

        local = settings.local or LocalConfig()
        return LocalJudge(local, context.rubric, context.lookup, context.find_model(local.model))


BACKEND = LocalBackend()
