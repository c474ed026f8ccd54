"""The Batch API: files of requests that are answered within a day, at half the price.

    to do ──build, upload, create──> open batches ──poll──> output and error files ──> ledger
      ^                                                          │ not answered, or an answer that does not fit
      └──────────────────────────────────────────────────────────┘ (changed as `outcomes.decide` says)

The journal remembers what is on its way, so a restarted run collects what an earlier one submitted.
"""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import json
import time
import uuid
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from absl import logging

from mmssr_jax.core.errors import UserError
from mmssr_jax.core.progress import Progress
from mmssr_jax.judge.api.batch_journal import Journal, Part
from mmssr_jax.judge.api.batch_service import ENDPOINT, BatchService
from mmssr_jax.judge.api.budget import SpendingBudget
from mmssr_jax.judge.api.config import ApiConfig, data_egress_notice, read_key
from mmssr_jax.judge.api.requests import Mode, Requests
from mmssr_jax.judge.api.retry import (
    TRANSIENT,
    RetryAdjustments,
    RunStoppedError,
    SampleError,
    ServerOutcome,
    decide,
    of_batch_line,
    one_line,
)
from mmssr_jax.judge.base import Estimate, Lookup, Request
from mmssr_jax.judge.ledger import Ledger, read_ledger
from mmssr_jax.judge.rubric import Rubric

_ENDED = ("completed", "expired", "cancelled", "failed")


class BatchJudge:
    """A model that is asked in batches.

    Args:
      lookup: the sample of an id.
      origin: what the samples are, for the warning before they leave the machine.
      sleep: waits between two looks.
    """

    def __init__(
        self, config: ApiConfig, rubric: Rubric, lookup: Lookup, *, origin: str,
        sleep: Callable[[float], None] = time.sleep,
    ):  # fmt: skip
        self._config, self._rubric, self._origin, self._sleep = config, rubric, origin, sleep
        self._requests = Requests(config, rubric, lookup)
        self.name, self.prompt_hash = self._requests.name, self._requests.prompt_hash

    def check(self) -> None:
        """Raises UserError where the key is not in the environment."""
        read_key(self._config)

    def estimate(self, requests: Sequence[Request]) -> Estimate:
        """See `api.Requests.estimate`; at the batch price."""
        notice = data_egress_notice(self._config, len(requests), self._origin)
        return dataclasses.replace(self._requests.estimate(requests, batch=True), notice=notice)

    def judge(self, requests: Sequence[Request], ledger: Ledger, progress: Progress) -> None:
        """Submits, waits and collects until every request is settled.

        Raises:
          UserError: the run stopped; batches on their way are collected by the next one.
        """
        key = read_key(self._config)
        if key is not None:
            ledger.hide(key)
        logging.warning("%s", data_egress_notice(self._config, len(requests), self._origin))
        try:
            with contextlib.closing(BatchService(self._config, key, self._sleep)) as service:
                _Run(self._config, self._requests, self._rubric, ledger, progress, service, self._sleep).all(requests)
        except RunStoppedError as e:
            raise UserError(ledger.clean(str(e))) from None
        except KeyboardInterrupt:
            raise UserError("judge: interrupted; batches on their way are collected by the same command") from None


@dataclasses.dataclass(frozen=True)
class _Ask:
    """A request that is still to be sent, or sent again."""

    request: Request
    attempt: int = 1
    follow_up: RetryAdjustments = RetryAdjustments()
    failures: int = 0


class _Run:
    """One pass: from the requests and the open batches to their lines in the ledger."""

    def __init__(
        self, config: ApiConfig, requests: Requests, rubric: Rubric, ledger: Ledger, progress: Progress,
        service: BatchService, sleep: Callable[[float], None],
    ):  # fmt: skip
        self._config, self._requests, self._rubric = config, requests, rubric
        self._ledger, self._progress, self._service, self._sleep = ledger, progress, service, sleep
        self._folder = ledger.path.parent
        self._journal = Journal(self._folder / "batches.jsonl", judge=requests.name, prompt_hash=requests.prompt_hash)
        self._spending = SpendingBudget(
            usd=ledger.spent,
            requests=ledger.requests,
            max_usd=config.limits.max_usd,
            max_requests=config.limits.max_requests,
        )
        self._mode: Mode = requests.first_mode()
        self._todo: collections.deque[_Ask] = collections.deque()
        self._asks: dict[tuple[str, int], _Ask] = {}
        self._open: list[Part] = []
        self._collected: set[str] = set()
        self._queue_full = False

    def all(self, requests: Sequence[Request]) -> None:
        """Works through the requests.

        Raises:
          RunStoppedError: see `outcomes`.
        """
        for left in self._folder.glob(".batch-*.jsonl"):
            left.unlink()
        self._take_over()
        for r in requests:
            if (r.id, r.repeat) not in self._asks:
                before = self._ledger.attempts.get((self._requests.name, self._requests.prompt_hash, r.id, r.repeat), 0)
                self._todo.append(_Ask(r, before + 1))
        while self._todo or self._open:
            while self._todo and len(self._open) < self._config.batch.max_open and not self._queue_full:
                if not self._submit():
                    break
            for part in list(self._open):
                self._look(part)
            if self._open:
                self._sleep(self._config.batch.poll_s)

    def _take_over(self) -> None:
        """Finds the batches that an earlier run left on their way."""
        parts = self._journal.open_parts()
        if not parts:
            return
        logging.info("judge: %d batches of an earlier run are on their way", len(parts))
        self._collected = {e.request_id for e in read_ledger(self._ledger.path) if e.request_id}
        for part in parts:
            for request, attempt in part.asked:
                self._asks[request.id, request.repeat] = _Ask(request, attempt)
                self._spending.take(part.usd)
            self._create(part, maybe_there=True)

    # --- submitting

    def _submit(self) -> bool:
        """Uploads as many requests as one file and the caps allow, and creates their batch.

        Returns:
          Whether there may be more to submit now.

        Raises:
          RunStoppedError: a cap allows nothing more and nothing is on its way.
        """
        path = self._folder / f".batch-{uuid.uuid4().hex}.jsonl"
        try:
            asks, usd, refusal = self._write(path)
            if asks:
                logging.info("judge: uploading a batch of %d requests, %.1f MB", len(asks), path.stat().st_size / 1e6)
                file_id = self._service.upload(path)
        finally:
            path.unlink(missing_ok=True)
        if asks:
            self._asks |= {(a.request.id, a.request.repeat): a for a in asks}
            asked = [(a.request, a.attempt) for a in asks]
            part = Part(uuid.uuid4().hex, file_id, asked, self._mode, usd / len(asks))
            self._journal.uploaded(part)
            self._create(part, maybe_there=False)
        elif refusal is not None and not self._open:
            raise refusal
        return refusal is None

    def _write(self, path: Path) -> tuple[list[_Ask], float, RunStoppedError | None]:
        """Writes one file of requests.

        Returns:
          Those in the file, what they cost at most, and the cap that keeps further ones back.
        """
        asks: list[_Ask] = []
        total, size = 0.0, 0
        with open(path, "wb") as f:
            while self._todo and len(asks) < self._config.batch.max_requests:
                ask = self._todo[0]
                try:
                    line, usd = self._line(ask, len(asks))
                except SampleError as e:
                    self._todo.popleft()
                    self._skip(ask, e)
                    continue
                if size + len(line) > self._config.batch.max_bytes:
                    break
                refusal = self._spending.refusal(usd)
                if refusal is not None:
                    return asks, total, refusal
                self._todo.popleft()
                self._spending.take(usd)
                f.write(line)
                asks.append(ask)
                total, size = total + usd, size + len(line)
        return asks, total, None

    def _line(self, ask: _Ask, number: int) -> tuple[bytes, float]:
        """A request's line in the file, and what it may cost."""
        prepared = self._requests.prepare(ask.request.id)
        body = self._requests.body(prepared, self._mode, ask.follow_up, repeat=ask.request.repeat)
        fields = {"custom_id": str(number), "method": "POST", "url": ENDPOINT, "body": body}
        line = json.dumps(fields, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"
        if len(line) > self._config.batch.max_bytes:
            raise SampleError("too_large", f"{len(line)} bytes do not fit into a batch file")
        return line, self._requests.most_usd(prepared, ask.follow_up, batch=True)

    def _skip(self, ask: _Ask, problem: SampleError) -> None:
        outcome = ServerOutcome("skip", problem.reason, one_line(problem))
        self._ledger.append(self._requests.entry(ask.request, outcome, {}, attempt=0, answered=True))
        self._progress.add()

    def _create(self, part: Part, *, maybe_there: bool) -> None:
        self._open.append(part)
        if part.batch_id is None:
            part.batch_id = self._service.create(part, maybe_there=maybe_there)
            self._journal.created(part)

    # --- collecting

    def _look(self, part: Part) -> None:
        """Asks how a batch stands, and collects it when it has ended.

        Raises:
          RunStoppedError: the run cannot go on; what the batch answered is in the ledger.
        """
        assert part.batch_id is not None
        batch = self._service.look(part.batch_id)
        if batch.status not in _ENDED:
            counts = batch.request_counts
            done = f"{counts.completed} of {counts.total} answered" if counts else "waiting"
            logging.info("judge: batch %s: %s, %s", part.batch_id, batch.status, done)
            return
        self._open.remove(part)
        self._queue_full = False
        stop = self._refused(part, batch) if batch.status == "failed" else self._collect(part, batch)
        self._ledger.flush()
        self._journal.finished(part, batch.status)
        if stop is not None:
            raise stop

    def _refused(self, part: Part, batch: Any) -> RunStoppedError | None:
        """A batch that was not begun: it waits for others where the account's queue is full, or the run stops."""
        errors = (batch.errors.data if batch.errors else None) or []
        code = errors[0].code if errors else ""
        detail = one_line(errors[0].message if errors else "no reason given")
        for request, _ in reversed(part.asked):
            self._todo.appendleft(self._asks[request.id, request.repeat])
            self._spending.settle(part.usd, 0.0)
        if code == "token_limit_exceeded" and self._open:
            logging.info("judge: the account's queue is full (%s); waiting for a batch to end", detail)
            self._queue_full = True
            return None
        mend = "lower batch.max_requests" if code == "token_limit_exceeded" else "see the provider's page"
        line = f"judge: {self._config.url} refused batch {batch.id} (batch_failed): {detail}; {mend}, then run again"
        return RunStoppedError("batch_failed", line)

    def _collect(self, part: Part, batch: Any) -> RunStoppedError | None:
        """Puts every line of the two result files into the ledger; what has none is asked again."""
        stop: RunStoppedError | None = None
        unanswered = dict.fromkeys(str(i) for i in range(len(part.asked)))
        for line in self._service.results(batch):
            custom_id = str(line.get("custom_id"))
            if custom_id not in unanswered:
                logging.warning("judge: batch %s answers %r, which was not asked", batch.id, custom_id[:40])
                continue
            del unanswered[custom_id]
            stop = self._settle(part, int(custom_id), line) or stop
        error = {"code": "batch_expired", "message": f"the batch is {batch.status} without an answer"}
        for custom_id in unanswered:
            self._settle(part, int(custom_id), {"id": f"{batch.id}/{custom_id}", "error": error})
        if batch.status == "cancelled" and unanswered and stop is None:
            message = f"judge: batch {batch.id} was cancelled (batch_failed); run the same command to submit the rest"
            return RunStoppedError("batch_failed", message)
        return stop

    def _settle(self, part: Part, number: int, line: dict[str, Any]) -> RunStoppedError | None:
        """One answered line: into the ledger, and back to do where it must be asked again."""
        request, attempt = part.asked[number]
        ask = self._asks[request.id, request.repeat]
        limits = self._config.limits
        outcome, payload = of_batch_line(line, self._rubric, max_wait_s=limits.max_wait_s)
        if outcome.reason == "no_schema":
            outcome = self._fall_back(part.mode, outcome)
        outcome, follow_up = decide(outcome, ask.follow_up, failures=ask.failures, max_attempts=limits.max_attempts)
        entry = self._requests.entry(
            request, outcome, payload, attempt=attempt, mode=part.mode, most_usd=part.usd, answered=not payload,
            request_id=str(line.get("id")), batch=True,
        )  # fmt: skip
        self._spending.settle(part.usd, entry.cost)
        if entry.request_id not in self._collected:
            self._ledger.append(entry)
        if outcome.action == "retry":
            failures = ask.failures + (outcome.reason in TRANSIENT)
            self._todo.append(_Ask(request, attempt + 1, follow_up, failures))
        elif outcome.action == "stop":
            return self._service.stopped(outcome)
        else:
            self._progress.add()
        return None

    def _fall_back(self, mode: Mode, outcome: ServerOutcome) -> ServerOutcome:
        simpler = self._requests.next_mode(mode)
        if simpler is None:
            return ServerOutcome("stop", "bad_setting", f"response_format: {outcome.detail}")
        if self._mode == mode:
            self._mode = simpler
        return outcome
