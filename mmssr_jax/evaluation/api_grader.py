"""A grader behind an OpenAI-compatible API, for MM-Vet and MathVista."""

from __future__ import annotations

import concurrent.futures
import dataclasses
import time
from collections.abc import Sequence

import openai
from absl import logging

from mmssr_jax.core.errors import UserError
from mmssr_jax.core.progress import Progress
from mmssr_jax.evaluation.grading import GradeRequest
from mmssr_jax.judge.api import prices
from mmssr_jax.judge.api.client_headers import client_headers
from mmssr_jax.judge.api.config import ApiConfig, LimitsConfig, read_key
from mmssr_jax.judge.api.responses import classify_status, token_usage
from mmssr_jax.judge.api.retry import one_line
from mmssr_jax.judge.ledger import Ledger, LedgerEntry, now

_SYSTEM = "You check answers to questions about pictures. Reply exactly in the form that you are asked for."


@dataclasses.dataclass(frozen=True)
class GraderConfig:
    """The config section `evaluate.judge`.

    Attributes:
      model: the server's name of the model; prefer a dated version, since results record it.
      base_url: the API's URL; by default OpenAI's server.
      api_key_env: the environment variable that holds the key; by default OPENAI_API_KEY for OpenAI's server.
      temperature: 0 as in VLMEvalKit; None omits the parameter, for models that reject it.
      max_answer_tokens: token limit of a reply, including hidden reasoning.
      concurrency: maximum number of requests in flight.
      timeout_s: timeout of one request, in seconds.
      max_attempts: attempts per request before the run stops.
      max_usd: budget for all grades of this workdir in US dollars, or None; requires a model with a known price.
    """

    model: str
    base_url: str | None = None
    api_key_env: str | None = None
    temperature: float | None = 0.0
    max_answer_tokens: int = 512
    concurrency: int = 8
    timeout_s: float = 120.0
    max_attempts: int = 6
    max_usd: float | None = None

    def __post_init__(self) -> None:
        self.api()  # ApiConfig checks URL, key and budget

    def api(self) -> ApiConfig:
        """The same settings as an `ApiConfig`."""
        limits = LimitsConfig(
            max_usd=self.max_usd, concurrency=self.concurrency, timeout_s=self.timeout_s, max_attempts=self.max_attempts
        )
        return ApiConfig(
            self.model, base_url=self.base_url, api_key_env=self.api_key_env, temperature=self.temperature,
            max_answer_tokens=self.max_answer_tokens, limits=limits,
        )  # fmt: skip


class ApiGrader:
    """Implements `grading.Grader` with concurrent requests; each reply is appended to the ledger on arrival."""

    def __init__(self, config: GraderConfig):
        self._config, self._api = config, config.api()
        self.name = config.model

    def grade(self, requests: Sequence[GradeRequest], ledger: Ledger, progress: Progress) -> None:
        """Requests every grade.

        Raises:
          UserError: the server refuses or is unreachable, or the budget is spent; earlier replies are in the ledger.
        """
        key = read_key(self._api)
        if key is not None:
            ledger.add_secret(key)
        logging.warning(
            "sending %d answers with their questions and references to %s (model %s)",
            len(requests),
            self._api.url,
            self.name,
        )
        client = openai.OpenAI(
            api_key=key or "none",
            base_url=self._api.url,
            default_headers=client_headers(self._api, key),
            max_retries=self._config.max_attempts - 1,
            timeout=self._config.timeout_s,
            http_client=openai.DefaultHttpxClient(follow_redirects=False),
        )
        with client, concurrent.futures.ThreadPoolExecutor(self._config.concurrency) as pool:
            open_requests = [pool.submit(self._ask, client, request, ledger) for request in requests]
            try:
                for done in concurrent.futures.as_completed(open_requests):
                    done.result()
                    progress.add()
            finally:
                for future in open_requests:
                    future.cancel()

    def _ask(self, client: openai.OpenAI, request: GradeRequest, ledger: Ledger) -> None:
        if self._config.max_usd is not None and ledger.spent >= self._config.max_usd:
            raise UserError(
                f"the grades of this workdir cost {ledger.spent:.2f} USD, which reaches config.evaluate.judge.max_usd"
            )
        start = time.monotonic()
        try:
            reply = client.chat.completions.create(
                model=self.name,
                messages=[{"role": "system", "content": _SYSTEM}, {"role": "user", "content": request.prompt}],
                max_completion_tokens=self._config.max_answer_tokens,
                temperature=openai.omit if self._config.temperature is None else self._config.temperature,
            )
        except openai.APIStatusError as e:
            outcome = classify_status(e.status_code, e.body, e.response.headers, max_wait_s=self._api.limits.max_wait_s)
            if outcome.action != "skip":
                raise UserError(self._stopped(f"{outcome.reason}: {ledger.redact(outcome.detail)}")) from None
            self._keep(request, ledger, start, outcome="skip", reason=outcome.reason, detail=outcome.detail)
            return
        except openai.APIConnectionError as e:
            raise UserError(self._stopped(one_line(e.__cause__ or e))) from None
        payload = reply.to_dict()
        usage = token_usage(payload)
        text = reply.choices[0].message.content if reply.choices else None
        self._keep(
            request, ledger, start, outcome="ok" if text else "skip", reason="" if text else "refusal", raw=text,
            usage=usage, cost=prices.cost(usage, self._api.price), model=str(payload.get("model") or self.name),
        )  # fmt: skip

    def _keep(self, request: GradeRequest, ledger: Ledger, start: float, **fields: object) -> None:
        latency = round(time.monotonic() - start, 3)
        ledger.append(
            LedgerEntry(request.id, self.name, request.prompt_hash, latency_s=latency, time=now(), **fields)  # type: ignore[arg-type]
        )

    def _stopped(self, why: str) -> str:
        return f"grading by {self.name}: {self._api.url} refused ({why}); run the same command again to resume"
