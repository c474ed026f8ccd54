"""The live judge: many requests in flight against an OpenAI-compatible server.

    worker x N    take a prepared request ─> reserve money ─> concurrency limit ─> rate limit ─> send ─> ledger ─> next
                                                                        └ retry: wait, or adjust the request
    threads       read samples and scale images shortly before they are sent

`retry` says what follows from each outcome. Answers in flight are kept when the run stops.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from typing import Any

import httpx2
import openai
from absl import logging

from mmssr_jax.core.progress import duration
from mmssr_jax.judge.api.api_judge import ApiJudge
from mmssr_jax.judge.api.client_headers import client_headers
from mmssr_jax.judge.api.config import ApiConfig
from mmssr_jax.judge.api.prefetch import Prefetch
from mmssr_jax.judge.api.rate_limit import Clock, ConcurrencyLimiter, RateLimiter
from mmssr_jax.judge.api.recorder import Attempt, OutcomeRecorder
from mmssr_jax.judge.api.requests import PreparedRequest, RequestBuilder
from mmssr_jax.judge.api.responses import classify_completion, classify_status
from mmssr_jax.judge.api.retry import RunStoppedError, SampleError, ServerOutcome, one_line
from mmssr_jax.judge.base import Lookup, Request
from mmssr_jax.judge.rubric import Rubric

_FIRST_BACKOFF_S, _MAX_BACKOFF_S = 0.5, 30.0
_MIN_FAILURES_TO_STOP = 20


class LiveJudge(ApiJudge):
    """A model that gets one HTTP request per rating.

    Args:
      lookup: the sample of an id.
      origin: the samples' folder and sources, for the notice before they leave the machine.
      clock: for rate limits and waits; tests replace it by a faster one.
    """

    _batch = False

    def __init__(self, config: ApiConfig, rubric: Rubric, lookup: Lookup, *, origin: str, clock: Clock | None = None):
        super().__init__(config, rubric, lookup, origin=origin)
        self._clock = clock or Clock()

    def _run(self, requests: Sequence[Request], key: str | None, recorder: OutcomeRecorder) -> None:
        asyncio.run(_LiveRun(self._builder, recorder, self._clock).run(requests, key))


def make_client(config: ApiConfig, key: str | None) -> openai.AsyncOpenAI:
    """The client: no built-in retries, no redirects (data go only where the notice says), one pool of connections."""
    connections = httpx2.Limits(
        max_connections=config.limits.concurrency, max_keepalive_connections=config.limits.concurrency
    )
    return openai.AsyncOpenAI(
        api_key=key or "none",
        base_url=config.url,
        default_headers=client_headers(config, key),
        max_retries=0,
        timeout=config.limits.timeout_s,
        http_client=openai.DefaultAsyncHttpxClient(limits=connections, follow_redirects=False),
    )


class _LiveRun:
    """One pass over the requests."""

    def __init__(self, builder: RequestBuilder, recorder: OutcomeRecorder, clock: Clock):
        self._config, self._limits, self._rubric = builder.config, builder.config.limits, builder.rubric
        self._builder, self._recorder, self._clock = builder, recorder, clock
        self._rate_limiter = RateLimiter(clock, requests_per_minute=self._limits.requests_per_minute)
        self._concurrency = ConcurrencyLimiter(clock, max_in_flight=self._limits.concurrency)
        self._failures_in_a_row = 0
        self._last_answer = clock.now()
        self._stop_error: Exception | None = None
        self._workers: list[asyncio.Task[None]] = []
        self._sending: set[asyncio.Task[Any]] = set()

    async def run(self, requests: Sequence[Request], key: str | None) -> None:
        """Works through the requests.

        Raises:
          RunStoppedError: the run cannot continue.
        """
        prefetch = Prefetch(self._builder, requests)
        async with make_client(self._config, key) as client:
            self._client = client
            count = min(self._limits.concurrency, len(requests))
            with self._stop_on_signals():
                self._workers = [asyncio.create_task(self._work(prefetch)) for _ in range(count)]
                await asyncio.gather(*self._workers, return_exceptions=True)
        if self._stop_error is not None:
            raise self._stop_error

    @contextlib.contextmanager
    def _stop_on_signals(self) -> Iterator[None]:
        """Ctrl-C and SIGTERM end the run as a stop does: answers in flight are waited for and kept."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        loop = asyncio.get_running_loop()
        error = RunStoppedError("interrupted", "judge: interrupted; run the same command again to continue")
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self._stop, error)
        try:
            yield
        finally:
            for number in (signal.SIGINT, signal.SIGTERM):
                loop.remove_signal_handler(number)

    def _stop(self, error: Exception) -> None:
        """Ends the run: workers that wait are cancelled, those with a request in flight finish it."""
        if self._stop_error is not None:
            return
        self._stop_error = error
        if self._sending:
            logging.info("judge: stopping; waiting for %d requests in flight", len(self._sending))
        for worker in self._workers:
            if worker not in self._sending and worker is not asyncio.current_task():
                worker.cancel()

    async def _work(self, prefetch: Prefetch) -> None:
        try:
            while self._stop_error is None and (ready := await prefetch.next()) is not None:
                request, prepared = ready
                if isinstance(prepared, SampleError):
                    self._recorder.skip(request, prepared)
                else:
                    await self._rate(request, prepared)
        except Exception as e:
            self._stop(e)

    async def _rate(self, request: Request, prepared: PreparedRequest) -> None:
        """One rating: sends requests until one is answered or the sample is given up."""
        attempt, retries = self._recorder.first_attempt(request), 0
        while True:
            outcome, attempt = await self._attempt(attempt, prepared)
            if outcome.action in ("ok", "skip"):
                self._recorder.progress.add(1, self._progress_note())
                return
            if self._stop_error is not None:
                return
            if outcome.action == "stop":
                raise self._recorder.stop_error(outcome)
            retries += 1
            await self._back_off(outcome, retries)

    async def _attempt(self, attempt: Attempt, prepared: PreparedRequest) -> tuple[ServerOutcome, Attempt]:
        """Sends one request and records its outcome; returns it with the next attempt."""
        max_cost = self._builder.max_cost_usd(prepared, attempt.adjustments)
        budget = self._recorder.budget
        await budget.wait_and_reserve(max_cost)
        is_settled = False
        try:
            async with self._concurrency:
                await self._rate_limiter.acquire(prepared.tokens)
                mode = self._recorder.response_format.mode
                body = self._builder.body(prepared, mode, attempt.adjustments, repeat=attempt.request.repeat)
                start = time.monotonic()
                outcome, payload, headers = await self._send(body)
                latency = time.monotonic() - start
            self._adapt_limits(outcome, headers)
            is_settled = True
            return self._recorder.record(
                attempt, outcome, payload, mode=mode, reserved_usd=max_cost, request_id=headers.get("x-request-id"),
                latency_s=latency,
            )  # fmt: skip
        finally:
            if not is_settled:  # cancelled before it was sent
                budget.settle(max_cost, 0.0)

    async def _send(self, body: dict[str, Any]) -> tuple[ServerOutcome, dict[str, Any], httpx2.Headers]:
        """The outcome, the completion (empty without one) and the headers."""
        task = asyncio.current_task()
        assert task is not None
        self._sending.add(task)
        no_headers, max_wait_s = httpx2.Headers(), self._limits.max_wait_s
        try:
            async with asyncio.timeout(self._limits.timeout_s):
                # `chat.completions.create` would spend as much time on the body's types as all the rest takes.
                response = await self._client.post("/chat/completions", cast_to=httpx2.Response, body=body)
        except (TimeoutError, openai.APITimeoutError):
            detail = f"no answer within {self._limits.timeout_s:g} s"
            return ServerOutcome("retry", "timeout", detail), {}, no_headers
        except openai.APIStatusError as e:
            headers = e.response.headers
            return classify_status(e.status_code, _body(e), headers, max_wait_s=max_wait_s), {}, headers
        except openai.APIConnectionError as e:
            never_sent = isinstance(e.__cause__, httpx2.ConnectError)
            outcome = ServerOutcome("retry", "connection", one_line(e.__cause__ or e), free=never_sent)
            return outcome, {}, no_headers
        finally:
            self._sending.discard(task)
        headers = response.headers
        return *classify_completion(response.content, self._rubric, headers=headers, max_wait_s=max_wait_s), headers

    def _adapt_limits(self, outcome: ServerOutcome, headers: httpx2.Headers) -> None:
        """Adapts rate and concurrency, and stops the run if the server no longer answers any request."""
        self._rate_limiter.update_limits(headers)
        if outcome.reason != "rate_limited" and not outcome.is_transient:
            self._concurrency.on_success()
            self._rate_limiter.on_success()
            self._failures_in_a_row = 0
            self._last_answer = self._clock.now()
            return
        self._concurrency.on_overload()
        self._failures_in_a_row += outcome.is_transient
        max_failures = max(_MIN_FAILURES_TO_STOP, 2 * self._limits.concurrency)
        silence = self._clock.now() - self._last_answer
        if self._failures_in_a_row >= max_failures or silence > self._limits.max_wait_s:
            line = (
                f"judge: {self._config.url} has answered nothing for {duration(silence)}, {self._failures_in_a_row} "
                f"requests failed in a row (no_answers: {outcome.detail}); run the same command again later"
            )
            self._stop(RunStoppedError("no_answers", line))

    async def _back_off(self, outcome: ServerOutcome, retries: int) -> None:
        """Waits before a retry, with exponential backoff; after a rate limit all requests wait."""
        backoff = min(_MAX_BACKOFF_S, _FIRST_BACKOFF_S * 2 ** min(retries - 1, 10))
        if outcome.reason == "rate_limited":
            wait = backoff if outcome.wait_s is None else outcome.wait_s
            if wait >= 60:
                logging.info("judge: the server asks to wait %s", duration(wait))
            self._rate_limiter.on_rate_limited(wait)
        elif outcome.is_transient:
            await self._clock.sleep(max(backoff, min(outcome.wait_s or 0.0, self._limits.max_wait_s)))

    def _progress_note(self) -> str:
        spent = f"${self._recorder.budget.usd:.2f} spent, " if self._config.price else ""
        return f"{spent}{self._concurrency.in_flight} in flight"


def _body(error: openai.APIStatusError) -> Any:
    """The error's decoded JSON, or its text."""
    try:
        return error.response.json()
    except ValueError:
        return error.response.text
