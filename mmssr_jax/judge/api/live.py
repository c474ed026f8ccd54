"""The live judge: many requests in flight against an OpenAI-compatible server.

    worker x N    take a prepared request ─> reserve money ─> gate ─> pace ─> send ─> outcome ─> ledger ─> next
                                                                        └ retry: wait, or change the request
    threads       read samples and scale pictures a little ahead

`outcomes` says what each outcome leads to. Nothing in flight is dropped when the run stops.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from typing import Any

import httpx2
import openai
from absl import logging

from mmssr_jax.core.errors import UserError
from mmssr_jax.core.progress import Progress, duration
from mmssr_jax.judge.api.budget import SpendingBudget
from mmssr_jax.judge.api.config import ApiConfig, data_egress_notice, key_env, read_key
from mmssr_jax.judge.api.prefetch import Prefetch
from mmssr_jax.judge.api.rate_limit import Clock, ConcurrencyLimiter, RateLimiter
from mmssr_jax.judge.api.requests import Mode, Prepared, Requests
from mmssr_jax.judge.api.retry import (
    TRANSIENT,
    RetryAdjustments,
    RunStoppedError,
    SampleError,
    ServerOutcome,
    decide,
    of_completion,
    of_status,
    one_line,
    stop_line,
)
from mmssr_jax.judge.base import Estimate, Lookup, Request
from mmssr_jax.judge.ledger import Ledger
from mmssr_jax.judge.rubric import Rubric

_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.5, 30.0
_FAILURES_IN_A_ROW = 20


class LiveJudge:
    """A model that is asked request by request.

    Args:
      lookup: the sample of an id.
      origin: what the samples are, for the warning before they leave the machine.
      clock: paces and pauses; tests run on a faster one.
    """

    def __init__(self, config: ApiConfig, rubric: Rubric, lookup: Lookup, *, origin: str, clock: Clock | None = None):
        self._config, self._rubric, self._origin = config, rubric, origin
        self._requests = Requests(config, rubric, lookup)
        self._clock = clock or Clock()
        self.name, self.prompt_hash = self._requests.name, self._requests.prompt_hash

    def check(self) -> None:
        """Raises UserError where the key is not in the environment."""
        read_key(self._config)

    def estimate(self, requests: Sequence[Request]) -> Estimate:
        """See `api.Requests.estimate`."""
        notice = data_egress_notice(self._config, len(requests), self._origin)
        return dataclasses.replace(self._requests.estimate(requests), notice=notice)

    def judge(self, requests: Sequence[Request], ledger: Ledger, progress: Progress) -> None:
        """Asks for every request.

        Raises:
          UserError: the run stopped; the line says why, and what to do.
        """
        key = read_key(self._config)
        if key is not None:
            ledger.hide(key)
        logging.warning("%s", data_egress_notice(self._config, len(requests), self._origin))
        run = _Run(self._config, self._requests, self._rubric, ledger, progress, self._clock)
        asyncio.run(run.all(requests, key))


def make_client(config: ApiConfig, key: str | None) -> openai.AsyncOpenAI:
    """The client: no retries of its own, no redirects (the data go where the warning said), one pool of connections."""
    connections = httpx2.Limits(
        max_connections=config.limits.concurrency, max_keepalive_connections=config.limits.concurrency
    )
    return openai.AsyncOpenAI(
        api_key=key or "none",
        base_url=config.url,
        max_retries=0,
        timeout=config.limits.timeout_s,
        http_client=openai.DefaultAsyncHttpxClient(limits=connections, follow_redirects=False),
    )


class _Run:
    """One pass over the requests."""

    def __init__(
        self, config: ApiConfig, requests: Requests, rubric: Rubric, ledger: Ledger, progress: Progress, clock: Clock
    ):
        limits = config.limits
        self._config, self._limits, self._rubric = config, limits, rubric
        self._requests, self._ledger, self._progress, self._clock = requests, ledger, progress, clock
        self._pacer = RateLimiter(clock, per_minute=limits.requests_per_minute)
        self._gate = ConcurrencyLimiter(clock, most=limits.concurrency)
        self._spending = SpendingBudget(
            usd=ledger.spent, requests=ledger.requests, max_usd=limits.max_usd, max_requests=limits.max_requests
        )
        self._mode: Mode = requests.first_mode()
        self._failed_in_a_row = 0
        self._last_answer = clock.now()
        self._end: Exception | None = None
        self._workers: list[asyncio.Task[None]] = []
        self._sending: set[asyncio.Task[Any]] = set()

    async def all(self, requests: Sequence[Request], key: str | None) -> None:
        """Works through the requests.

        Raises:
          UserError: the run stopped.
        """
        prefetch = Prefetch(self._requests, requests)
        async with make_client(self._config, key) as client:
            self._client = client
            count = min(self._limits.concurrency, len(requests))
            with self._interruptible():
                self._workers = [asyncio.create_task(self._work(prefetch)) for _ in range(count)]
                await asyncio.gather(*self._workers, return_exceptions=True)
        if isinstance(self._end, RunStoppedError):
            raise UserError(self._ledger.clean(str(self._end)))
        if self._end is not None:
            raise self._end

    @contextlib.contextmanager
    def _interruptible(self) -> Iterator[None]:
        """Lets Ctrl-C and SIGTERM end the run as a stop does: answers in flight are waited for and kept."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        loop = asyncio.get_running_loop()
        stop = RunStoppedError("interrupted", "judge: interrupted; the same command goes on from here")
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self._halt, stop)
        try:
            yield
        finally:
            for number in (signal.SIGINT, signal.SIGTERM):
                loop.remove_signal_handler(number)

    def _halt(self, why: Exception) -> None:
        """Ends the run: who waits is cancelled, who has a request in flight may finish it."""
        if self._end is not None:
            return
        self._end = why
        if self._sending:
            logging.info("judge: stopping; waiting for %d requests in flight", len(self._sending))
        for worker in self._workers:
            if worker not in self._sending and worker is not asyncio.current_task():
                worker.cancel()

    async def _work(self, prefetch: Prefetch) -> None:
        try:
            while self._end is None and (ready := await prefetch.next()) is not None:
                await self._rate(*ready)
        except Exception as e:
            self._halt(e)

    async def _rate(self, request: Request, prepared: Prepared | SampleError) -> None:
        """One rating: asks until it is answered or given up."""
        if isinstance(prepared, SampleError):
            outcome = ServerOutcome("skip", prepared.reason, one_line(prepared))
            self._ledger.append(self._requests.entry(request, outcome, {}, attempt=0, answered=True))
            self._progress.add()
            return
        follow_up, failures, pauses = RetryAdjustments(), 0, 0
        attempt = self._ledger.attempts.get((self._requests.name, self._requests.prompt_hash, *_key(request)), 0)
        while True:
            attempt += 1
            outcome, follow_up = await self._ask(request, prepared, follow_up, attempt, failures)
            if outcome.action in ("ok", "skip"):
                self._progress.add(1, self._note())
                return
            if self._end is not None:
                return
            if outcome.action == "stop":
                raise RunStoppedError(outcome.reason, self._line(outcome))
            failures += outcome.reason in TRANSIENT
            pauses += 1
            await self._pause(outcome, pauses)

    async def _ask(
        self, request: Request, prepared: Prepared, follow_up: RetryAdjustments, attempt: int, failures: int
    ) -> tuple[ServerOutcome, RetryAdjustments]:
        """Sends one request and puts what came of it into the ledger."""
        most = self._requests.most_usd(prepared, follow_up)
        await self._spending.reserve(most)
        cost = 0.0
        try:
            async with self._gate:
                await self._pacer.turn(prepared.tokens)
                mode = self._mode
                body = self._requests.body(prepared, mode, follow_up, repeat=request.repeat)
                start = time.monotonic()
                outcome, payload, headers, answered = await self._send(body)
                latency = time.monotonic() - start
            self._learn(outcome, headers)
            if outcome.reason == "no_schema":
                outcome = self._fall_back(mode, outcome)
            outcome, follow_up = decide(outcome, follow_up, failures=failures, max_attempts=self._limits.max_attempts)
            entry = self._requests.entry(
                request, outcome, payload, attempt=attempt, mode=mode, most_usd=most, answered=answered,
                request_id=headers.get("x-request-id"), latency_s=latency,
            )  # fmt: skip
            cost = entry.cost
            self._ledger.append(entry)
        finally:
            self._spending.settle(most, cost)
        return outcome, follow_up

    async def _send(self, body: dict[str, Any]) -> tuple[ServerOutcome, dict[str, Any], httpx2.Headers, bool]:
        """The outcome, the completion, the headers, and whether the server answered with an error (which is free)."""
        task = asyncio.current_task()
        assert task is not None
        self._sending.add(task)
        nothing = httpx2.Headers()
        try:
            async with asyncio.timeout(self._limits.timeout_s):
                # Not `chat.completions.create`: walking through the body's types takes it as long as all the rest.
                response = await self._client.post("/chat/completions", cast_to=httpx2.Response, body=body)
        except (TimeoutError, openai.APITimeoutError):
            detail = f"no answer within {self._limits.timeout_s:g} s"
            return ServerOutcome("retry", "timeout", detail), {}, nothing, False
        except openai.APIStatusError as e:
            headers = e.response.headers
            outcome = of_status(e.status_code, _body(e), headers, max_wait_s=self._limits.max_wait_s)
            return outcome, {}, headers, True
        except openai.APIConnectionError as e:
            never_sent = isinstance(e.__cause__, httpx2.ConnectError)
            return ServerOutcome("retry", "connection", one_line(e.__cause__ or e)), {}, nothing, never_sent
        finally:
            self._sending.discard(task)
        outcome, payload = of_completion(response.content, self._rubric)
        return outcome, payload, response.headers, False

    def _learn(self, outcome: ServerOutcome, headers: httpx2.Headers) -> None:
        """Adapts pace and number in flight, and ends the run where the server answers nobody any more."""
        self._pacer.learn(headers)
        if outcome.reason == "rate_limited" or outcome.reason in TRANSIENT:
            self._gate.complained()
        else:
            self._gate.went_well()
            self._pacer.answered()
            self._failed_in_a_row = 0
            self._last_answer = self._clock.now()
            return
        self._failed_in_a_row += outcome.reason in TRANSIENT
        many = max(_FAILURES_IN_A_ROW, 2 * self._limits.concurrency)
        silence = self._clock.now() - self._last_answer
        if self._failed_in_a_row >= many or silence > self._limits.max_wait_s:
            self._halt(
                RunStoppedError(
                    "no_answers",
                    f"judge: {self._config.url} has answered nothing for {duration(silence)}, {self._failed_in_a_row} "
                    f"requests failed in a row (no_answers: {outcome.detail}); run the same command again later",
                )
            )

    def _fall_back(self, mode: Mode, outcome: ServerOutcome) -> ServerOutcome:
        """Asks for the answer's form in a simpler way from now on, or says that there is none."""
        simpler = self._requests.next_mode(mode)
        if simpler is None:
            return ServerOutcome("stop", "bad_setting", f"response_format: {outcome.detail}")
        if self._mode == mode:
            logging.warning("judge: the server does not take response_format %s; going on with %s", mode, simpler)
            self._mode = simpler
        return outcome

    async def _pause(self, outcome: ServerOutcome, pauses: int) -> None:
        """Waits before a retry, longer each time; where the server limits the rate, everybody waits."""
        backoff = min(_LONGEST_PAUSE_S, _FIRST_PAUSE_S * 2 ** min(pauses - 1, 10))
        if outcome.reason == "rate_limited":
            wait = backoff if outcome.wait is None else outcome.wait
            if wait >= 60:
                logging.info("judge: the server asks to wait %s", duration(wait))
            self._pacer.refused(wait)
        elif outcome.reason in TRANSIENT:
            await self._clock.sleep(max(backoff, min(outcome.wait or 0.0, self._limits.max_wait_s)))

    def _line(self, outcome: ServerOutcome) -> str:
        return stop_line(outcome, server=self._config.url, model=self._config.model, key_env=key_env(self._config))

    def _note(self) -> str:
        spent = f"${self._spending.usd:.2f} spent, " if self._config.price else ""
        return f"{spent}{self._gate.held} in flight"


def _key(request: Request) -> tuple[str, int]:
    return request.id, request.repeat


def _body(error: openai.APIStatusError) -> Any:
    """The error's decoded JSON, or its text."""
    try:
        return error.response.json()
    except ValueError:
        return error.response.text
