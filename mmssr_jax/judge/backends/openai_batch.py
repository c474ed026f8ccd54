"""A model behind the Batch API: half the price, answers within a day; see `judge.api`."""

from __future__ import annotations

from mmssr_jax.judge.api.settings import ApiBackend, ApiSettings
from mmssr_jax.judge.backend import JudgeContext
from mmssr_jax.judge.base import Judge


class BatchBackend(ApiBackend):
    """Uploaded files of requests."""

    def make(self, settings: ApiSettings, context: JudgeContext) -> Judge:
        """The judge."""
        from mmssr_jax.judge.api.batch_judge import BatchJudge

        assert settings.api is not None  # checked
        return BatchJudge(settings.api, context.rubric, context.lookup, origin=context.origin)


BACKEND = BatchBackend()
