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
from mmssr_jax.judge.api.config import ApiConfig, LimitsConfig, read_key
from mmssr_jax.judge.api.retry import of_status, one_line, usage_of
from mmssr_jax.judge.ledger import Ledger, LedgerEntry, now

_SYSTEM = "You check answers to questions about pictures. Reply exactly in the form that you are asked for."


@dataclasses.dataclass(frozen=True)
class GraderConfig:
    """Section `config.evaluate.judge`.

    Attributes:
      model: as the server names it; name a dated version, it stands beside every number.
      base_url: of another server than OpenAI's.
      api_key_env: the environment variable that holds the key; OPENAI_API_KEY for OpenAI's own server.
      temperature: 0 as in VLMEvalKit; None leaves it out, for models that refuse it.
      max_answer_tokens: room for the reply, hidden reasoning included.
      concurrency: most requests in flight.
      timeout_s: longest wait for one reply.
      max_attempts: requests for one reply before the run stops.
      max_usd: cap on what the grades of this workdir cost, or None; the model needs a known price.
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
        self.api()  # its checks of address, key and cap

    def api(self) -> ApiConfig:
        """The same as settings of the judge's API."""
        limits = LimitsConfig(
            max_usd=self.max_usd, concurrency=self.concurrency, timeout_s=self.timeout_s, max_attempts=self.max_attempts
        )
        return ApiConfig(
            self.model, base_url=self.base_url, api_key_env=self.api_key_env, temperature=self.temperature,
            max_answer_tokens=self.max_answer_tokens, limits=limits,
        )  # fmt: skip


class ApiGrader:
    """Implements `grading.Grader`: some requests in flight, each reply into the ledger as it comes."""

    def __init__(self, config: GraderConfig):
        self._config, self._api = config, config.api()
        self.name = config.model

    def grade(self, requests: Sequence[GradeRequest], ledger: Ledger, progress: Progress) -> None:
        """Asks for every grade.

        Raises:
          UserError: the server refuses or cannot be reached, or the cap is reached; replies so far are kept.
        """
        key = read_key(self._api)
        if key is not None:
            ledger.hide(key)
        logging.warning(
            "%d answers, with questions and references, go to %s (model %s)", len(requests), self._api.url, self.name
        )
        client = openai.OpenAI(
            api_key=key or "none",
            base_url=self._api.url,
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
            raise UserError(f"the grades of this workdir cost {ledger.spent:.2f} USD: config.evaluate.judge.max_usd")
        start = time.monotonic()
        try:
            reply = client.chat.completions.create(
                model=self.name,
                messages=[{"role": "system", "content": _SYSTEM}, {"role": "user", "content": request.prompt}],
                max_completion_tokens=self._config.max_answer_tokens,
                temperature=openai.omit if self._config.temperature is None else self._config.temperature,
            )
        except openai.APIStatusError as e:
            outcome = of_status(e.status_code, e.body, e.response.headers, max_wait_s=self._api.limits.max_wait_s)
            if outcome.action != "skip":
                raise UserError(self._stopped(f"{outcome.reason}: {ledger.clean(outcome.detail)}")) from None
            self._keep(request, ledger, start, outcome="skip", reason=outcome.reason, detail=outcome.detail)
            return
        except openai.APIConnectionError as e:
            raise UserError(self._stopped(one_line(e.__cause__ or e))) from None
        payload = reply.to_dict()
        usage = usage_of(payload)
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
        return f"grading by {self.name}: {self._api.url} refused ({why}); the same command goes on from here"
