"""Applies the retry policy to outcomes and writes them to the ledger, for live and batch judges."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from mmssr_jax.core.progress import Progress
from mmssr_jax.judge.api.budget import SpendingBudget
from mmssr_jax.judge.api.config import key_env
from mmssr_jax.judge.api.requests import RequestBuilder
from mmssr_jax.judge.api.response_format import Mode, ResponseFormat
from mmssr_jax.judge.api.retry import (
    RetryAdjustments,
    RunStoppedError,
    SampleError,
    ServerOutcome,
    decide,
    one_line,
    stop_message,
)
from mmssr_jax.judge.base import Request
from mmssr_jax.judge.ledger import Action, Ledger, LedgerEntry


@dataclasses.dataclass(frozen=True)
class Attempt:
    """One request for a rating.

    Attributes:
      number: 1 for the first request of the rating, those of earlier runs included.
      adjustments: how it differs from the first one.
      failures: earlier requests of this run with a transient failure.
    """

    request: Request
    number: int = 1
    adjustments: RetryAdjustments = RetryAdjustments()
    failures: int = 0


class OutcomeRecorder:
    """The state of a run that all requests share.

    A `bad_request` is about its sample or about a setting, and only the next requests show which. So the ledger lines
    of consecutive ones with the same error are held back: they are written as "skip" when the model answers a request,
    and as "stop" when there are `limits.max_same_errors` of them, which ends the run. One alone, with no answer before
    or after it, decides nothing: it is written as "unconfirmed", and the next run requests it again.

    Attributes:
      budget: the caps.
      response_format: the format in use.
    """

    def __init__(self, builder: RequestBuilder, ledger: Ledger, progress: Progress):
        self._config, self._builder = builder.config, builder
        self.ledger, self.progress = ledger, progress
        limits = self._config.limits
        self.budget = SpendingBudget(
            usd=ledger.spent, requests=ledger.requests, max_usd=limits.max_usd, max_requests=limits.max_requests
        )
        self.response_format = ResponseFormat(self._config.structured)
        self._held: list[LedgerEntry] = []
        self._about_sample = False  # the last of them
        self._refused = 0
        self._stopped_by: str | None = None
        judge = (builder.name, builder.prompt_hash)
        self._answered = any(key[:2] == judge for key in ledger.settled)

    def first_attempt(self, request: Request) -> Attempt:
        """The next request for a rating, given those of earlier runs."""
        key = (self._builder.name, self._builder.prompt_hash, request.id, request.repeat)
        return Attempt(request, self.ledger.attempts.get(key, 0) + 1)

    def skip(self, request: Request, error: SampleError) -> None:
        """Records a sample that cannot be sent."""
        outcome = ServerOutcome("skip", error.reason, one_line(error), free=True)
        self.ledger.append(self._builder.ledger_entry(request, outcome, {}, attempt=0))
        self.progress.add()

    def record(
        self,
        attempt: Attempt,
        outcome: ServerOutcome,
        payload: Mapping[str, Any],
        *,
        mode: Mode,
        reserved_usd: float,
        request_id: str | None,
        latency_s: float = 0.0,
        batch: bool = False,
        is_recorded: bool = False,
    ) -> tuple[ServerOutcome, Attempt]:
        """Records the outcome of a request and replaces its reservation by its cost.

        Args:
          payload: the completion, or empty without one.
          mode: the response format of the request.
          is_recorded: an earlier run has already written the line.

        Returns:
          The outcome according to the retry policy, and the next attempt if it is "retry".
        """
        cost = 0.0
        try:
            if outcome.reason == "no_schema":
                outcome = self.response_format.on_refused(mode, outcome)
            outcome, adjustments = decide(
                outcome, attempt.adjustments, failures=attempt.failures, max_attempts=self._config.limits.max_attempts
            )
            entry = self._builder.ledger_entry(
                attempt.request, outcome, payload, attempt=attempt.number, mode=mode, max_cost_usd=reserved_usd,
                request_id=request_id, latency_s=latency_s, batch=batch,
            )  # fmt: skip
            cost = entry.cost
            if not is_recorded:
                outcome = self._append(entry, outcome)
        finally:
            self.budget.settle(reserved_usd, cost)
        failures = attempt.failures + outcome.is_transient
        return outcome, Attempt(attempt.request, attempt.number + 1, adjustments, failures)

    def _append(self, entry: LedgerEntry, outcome: ServerOutcome) -> ServerOutcome:
        if outcome.reason == "bad_request":
            return self._hold(entry, outcome)
        if outcome.raw is not None:
            self._answered = True
            self._write_held("skip")
        self.ledger.append(entry)
        return outcome

    def _hold(self, entry: LedgerEntry, outcome: ServerOutcome) -> ServerOutcome:
        if self._held and self._held[-1].detail != entry.detail:
            self._write_held("skip")
        self._held.append(entry)
        self._about_sample = outcome.about_sample
        self._refused += 1
        if len(self._held) < self._config.limits.max_same_errors and entry.detail != self._stopped_by:
            return outcome
        return self._same_error(outcome)

    def _same_error(self, outcome: ServerOutcome) -> ServerOutcome:
        count = len(self._held)
        self._stopped_by = outcome.detail
        self._write_held("stop", "same_error")
        detail = f"it refused {count} samples in a row: {outcome.detail}"
        return dataclasses.replace(outcome, action="stop", reason="same_error", detail=detail)

    def _write_held(self, action: Action, reason: str = "bad_request") -> None:
        held, self._held = self._held, []
        for entry in held:
            self.ledger.append(dataclasses.replace(entry, outcome=action, reason=reason))

    def finish(self, *, completed: bool) -> RunStoppedError | None:
        """Writes the lines that are held back.

        Args:
          completed: all requests were made.

        Returns:
          The error, if the server has refused every sample so far in the same way.
        """
        if completed and len(self._held) > 1 and not self._answered:
            last = self._held[-1]
            return self.stop_error(self._same_error(ServerOutcome("skip", last.reason, last.detail)))
        alone = completed and self._refused == 1 and not self._answered and not self._about_sample
        self._write_held("skip" if completed else "retry", "unconfirmed" if alone else "bad_request")
        return None

    def stop_error(self, outcome: ServerOutcome) -> RunStoppedError:
        """The error that ends a run after a "stop" outcome."""
        config = self._config
        line = stop_message(outcome, server=config.url, model=config.model, key_env=key_env(config))
        return RunStoppedError(outcome.reason, line)
