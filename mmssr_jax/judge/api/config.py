"""The settings of a model behind an API: model and server, prompt, limits, prices, API key."""

from __future__ import annotations

import dataclasses
import os
import re
import urllib.parse
from typing import Any, Literal

from mmssr_jax.core.errors import UserError
from mmssr_jax.judge.api.prices import PRICES, PRICES_DATE, Price, price_of
from mmssr_jax.judge.prompts import JudgePromptConfig

OPENAI = "https://api.openai.com/v1"
_LOCAL = ("localhost", "127.0.0.1", "::1")


@dataclasses.dataclass(frozen=True)
class LimitsConfig:
    """Rate limits and caps; none of them changes an answer, so all may change between runs.

    Attributes:
      max_usd: cap on the spending of all judges of this workdir, or None.
      max_requests: cap on requests, including those of earlier runs, or None.
      requests_per_minute: a user-supplied limit; the server's headers may require less.
      concurrency: maximum number of requests in flight.
      timeout_s: longest wait for one answer.
      max_attempts: requests for one rating with a transient failure before its sample is skipped.
      max_wait_s: longest wait that the server may ask for, and longest time without any answer.
      max_same_errors: the run stops when the server refuses this many samples in a row with the same error.
    """

    max_usd: float | None = None
    max_requests: int | None = None
    requests_per_minute: float | None = None
    concurrency: int = 64
    timeout_s: float = 180.0
    max_attempts: int = 6
    max_wait_s: float = 900.0
    max_same_errors: int = 5

    def __post_init__(self) -> None:
        for name in ("concurrency", "timeout_s", "max_attempts", "max_wait_s", "max_same_errors"):
            if getattr(self, name) <= 0:
                raise ValueError(f"limits.{name} is {getattr(self, name)}, expected more than 0")
        for name in ("max_usd", "max_requests", "requests_per_minute"):
            value = getattr(self, name)
            if value is not None and value <= 0:
                raise ValueError(f"limits.{name} is {value}, expected more than 0, or None for no limit")


@dataclasses.dataclass(frozen=True)
class JudgeBatchConfig:
    """The Batch API.

    Attributes:
      max_requests, max_bytes: of one file; the service allows 50,000 and 200 MB.
      max_open: batches in progress at the same time.
      poll_s: seconds between two status requests.
    """

    max_requests: int = 50_000
    max_bytes: int = 190_000_000
    max_open: int = 8
    poll_s: float = 60.0

    def __post_init__(self) -> None:
        if not 1 <= self.max_requests <= 50_000:
            raise ValueError(f"batch.max_requests is {self.max_requests}, expected 1-50000")
        if not 1 <= self.max_bytes <= 200_000_000:
            raise ValueError(f"batch.max_bytes is {self.max_bytes}, expected 1-200000000")
        if self.max_open < 1 or self.poll_s <= 0:
            raise ValueError("batch.max_open and batch.poll_s must be more than 0")


@dataclasses.dataclass(frozen=True)
class ApiConfig:
    """A model behind an OpenAI-compatible API.

    Attributes:
      model: the model's name at the server. Use a dated version; undated names change their model over time.
      name: the judge's name in the output rows; the model by default.
      base_url: of another server (vLLM, SGLang, Ollama, ...); OpenAI's by default.
      api_key_env: the environment variable that holds the key. By default OPENAI_API_KEY for OpenAI's own server, and
        none for any other: a key is only sent to the server that it is meant for.
      structured: the response format; "auto" starts with a strict schema and falls back to simpler formats.
      temperature, seed, reasoning_effort, service_tier: sent if set; not every model takes them. A repeated rating of
        the same sample is sent with the next seed.
      max_answer_tokens: limit on the answer, including hidden reasoning.
      answer_field: the request field of that limit; older servers only have "max_tokens".
      prompt: which parts of a sample are sent.
      limits: rate limits and caps.
      batch: settings of the backend "openai_batch".
      prices: US dollars for a million tokens. A model without a price cannot have a cap on spending.
      prices_date: when these were looked up.
    """

    model: str
    name: str | None = None
    base_url: str | None = None
    api_key_env: str | None = None
    structured: Literal["auto", "json_schema", "json_object", "text"] = "auto"
    temperature: float | None = None
    seed: int | None = None
    reasoning_effort: str | None = None
    service_tier: str | None = None
    max_answer_tokens: int = 800
    answer_field: Literal["max_completion_tokens", "max_tokens"] = "max_completion_tokens"
    prompt: JudgePromptConfig = dataclasses.field(default_factory=JudgePromptConfig)
    limits: LimitsConfig = dataclasses.field(default_factory=LimitsConfig)
    batch: JudgeBatchConfig = dataclasses.field(default_factory=JudgeBatchConfig)
    prices: tuple[Price, ...] = PRICES
    prices_date: str = PRICES_DATE

    def __post_init__(self) -> None:
        if not self.model:
            raise ValueError("model is empty")
        if self.max_answer_tokens < 1:
            raise ValueError(f"max_answer_tokens is {self.max_answer_tokens}, expected 1 or more")
        # The value may be the key itself, given in the wrong place: it is not repeated here.
        if self.api_key_env is not None and not re.fullmatch(r"[A-Z_][A-Z0-9_]{0,63}", self.api_key_env):
            raise ValueError("api_key_env must be the name of an environment variable, not the key itself")
        if self.limits.max_usd is not None and self.price is None:
            raise ValueError(f"limits.max_usd needs a price: put {self.model!r} into prices (model, input, output)")
        self._check_url()

    def _check_url(self) -> None:
        if self.base_url is None:
            return
        url = urllib.parse.urlsplit(self.base_url)
        if url.scheme not in ("http", "https") or not url.hostname or re.search(r"\s", self.base_url):
            raise ValueError(f"base_url is {self.base_url!r}, expected https://HOST/v1")
        if url.username or url.password or url.query:
            raise ValueError("base_url holds a user, a password or a query; put keys into an environment variable")
        try:
            url.port  # noqa: B018 - it is parsed when it is read
        except ValueError as e:
            raise ValueError(f"base_url is {self.base_url!r}: {e}") from None
        if url.scheme == "http" and url.hostname not in _LOCAL and self.api_key_env is not None:
            raise ValueError("base_url is http: the key would be sent unencrypted; use https or no api_key_env")

    @property
    def url(self) -> str:
        """The base URL of requests."""
        return self.base_url or OPENAI

    @property
    def price(self) -> Price | None:
        """The price of the model, or None if unknown."""
        return price_of(self.model, self.prices)

    def decoding(self) -> dict[str, Any]:
        """The request fields that affect the answer."""
        fields = {
            "temperature": self.temperature,
            "seed": self.seed,
            "reasoning_effort": self.reasoning_effort,
            "service_tier": self.service_tier,
        }
        return {k: v for k, v in fields.items() if v is not None}


def key_env(config: ApiConfig) -> str | None:
    """The environment variable that holds the key; None for a server without one."""
    if config.api_key_env is None and config.base_url is None:
        return "OPENAI_API_KEY"
    return config.api_key_env


def read_key(config: ApiConfig) -> str | None:
    """The key from the environment; None for a server without one.

    Raises:
      UserError: the variable is not set, or holds what no key has; its value is not repeated.
    """
    name = key_env(config)
    if name is None:
        return None
    key = os.environ.get(name, "").strip()
    if not key:
        raise UserError(f"judge: the environment variable {name} is not set; it must hold the API key for {config.url}")
    if not re.fullmatch(r"[!-~]+", key):
        raise UserError(
            f"judge: the environment variable {name} holds a space, a line break or a character outside of ASCII; it "
            f"must hold one API key for {config.url} and nothing else"
        )
    return key


def data_egress_notice(config: ApiConfig, requests: int, origin: str) -> str:
    """The warning before the first request: which data leave the machine, and where they go."""
    if urllib.parse.urlsplit(config.url).hostname in _LOCAL:
        return f"judge: {requests} samples of {origin} go to {config.url} on this machine (model {config.model})"
    return (
        f"judge: {requests} samples of {origin} are about to leave this machine: conversations and up to "
        f"{config.prompt.max_images} images each go to {config.url} (model {config.model})"
    )
