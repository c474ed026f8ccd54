"""A model behind an OpenAI-compatible API, request by request; see `judge.api`."""

from __future__ import annotations

from mmssr_jax.judge.api.settings import ApiBackend, ApiSettings
from mmssr_jax.judge.backend import JudgeContext
from mmssr_jax.judge.base import Judge


class LiveBackend(ApiBackend):
    """Many requests in flight."""

    def make(self, settings: ApiSettings, context: JudgeContext) -> Judge:
        """The judge."""
        from mmssr_jax.judge.api.live import LiveJudge

        assert settings.api is not None  # checked
        return LiveJudge(settings.api, context.rubric, context.lookup, origin=context.origin)


BACKEND = LiveBackend()
