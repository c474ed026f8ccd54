"""What the backends "openai" and "openai_batch" share: the keys of `config.judge` that they read."""

from __future__ import annotations

import dataclasses

from mmssr_jax.judge.api.config import ApiConfig
from mmssr_jax.judge.backend import Backend


@dataclasses.dataclass(frozen=True)
class ApiSettings:
    """The keys of `config.judge` for both backends.

    Attributes:
      api: the model, its server and the limits.
    """

    api: ApiConfig | None = None


class ApiBackend(Backend[ApiSettings]):
    """A model behind an API; `make` differs."""

    settings = ApiSettings

    def check(self, settings: ApiSettings, *, repeats: bool) -> None:
        """Raises ValueError if no model is given."""
        del repeats
        if settings.api is None:
            raise ValueError("api is not set; give at least api.model")
