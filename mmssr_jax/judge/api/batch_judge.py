"""The Batch API: files of requests that are answered within a day, at half the price.

    queue ──build, upload, create──> open batches ──poll──> output and error files ──> ledger
      ^                                                          │ no answer, or an invalid one
      └──────────────────────────────────────────────────────────┘ (adjusted as `retry.decide` says)

The journal records open batches, so a restarted run collects what an earlier one submitted.
"""

from __future__ import annotations

import collections
import contextlib
import json
import time
import uuid
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from absl import logging

from mmssr_jax.judge.api.api_judge import ApiJudge
from mmssr_jax.judge.api.batch_journal import BatchJournal, BatchPart
from mmssr_jax.judge.api.batch_service import ENDPOINT, BatchService
from mmssr_jax.judge.api.config import ApiConfig
from mmssr_jax.judge.api.recorder import Attempt, OutcomeRecorder
from mmssr_jax.judge.api.requests import RequestBuilder
from mmssr_jax.judge.api.responses import classify_batch_line
from mmssr_jax.judge.api.retry import RunStoppedError, SampleError, one_line
from mmssr_jax.judge.base import Lookup, Request
from mmssr_jax.judge.ledger import read_ledger
from mmssr_jax.judge.rubric import Rubric

_ENDED = ("completed", "expired", "cancelled", "failed")


class BatchJudge(ApiJudge):
    """A model that gets its requests in batches.

    Args:
      lookup: the sample of an id.
      origin: the samples' folder and sources, for the notice before they leave the machine.
      sleep: waits between two status requests.
    """

    _batch = True

    def __init__(
        self, config: ApiConfig, rubric: Rubric, lookup: Lookup, *, origin: str,
        sleep: Callable[[float], None] = time.sleep,
    ):  # fmt: skip
        super().__init__(config, rubric, lookup, origin=origin)
        self._sleep = sleep

    def _run(self, requests: Sequence[Request], key: str | None, recorder: OutcomeRecorder) -> None:
        """Submits, waits and collects; the next run collects the batches that are open when this one stops."""
        try:
            with contextlib.closing(BatchService(self._config, key, self._sleep)) as service:
                _BatchRun(self._builder, recorder, service, self._sleep).run(requests)
        except KeyboardInterrupt:
            line = "judge: interrupted; run the same command again to collect the open batches"
            raise RunStoppedError("interrupted", line) from None


class _BatchRun:
    """One pass: from the requests and the open batches to their lines in the ledger."""

    def __init__(
        self, builder: RequestBuilder, recorder: OutcomeRecorder, service: BatchService, sleep: Callable[[float], None]
    ):
        self._config, self._builder, self._recorder = builder.config, builder, recorder
        self._service, self._sleep = service, sleep
        self._folder = recorder.ledger.path.parent
        self._journal = BatchJournal(
            self._folder / "batches.jsonl", judge=builder.name, prompt_hash=builder.prompt_hash
        )
        self._queue: collections.deque[Attempt] = collections.deque()
        self._attempts: dict[Request, Attempt] = {}
        self._open: list[BatchPart] = []
        self._recorded_ids: set[str] = set()
        self._is_queue_full = False  # the account's, at the provider

    def run(self, requests: Sequence[Request]) -> None:
        """Works through the requests.

        Raises:
          RunStoppedError: the run cannot continue.
        """
        for leftover in self._folder.glob(".batch-*.jsonl"):
            leftover.unlink()
        self._resume_open_batches()
        self._queue += [self._recorder.first_attempt(r) for r in requests if r not in self._attempts]
        while self._queue or self._open:
            while self._queue and len(self._open) < self._config.batch.max_open and not self._is_queue_full:
                if not self._submit():
                    break
            for part in list(self._open):
                self._poll(part)
            if self._open:
                self._sleep(self._config.batch.poll_s)

    def _resume_open_batches(self) -> None:
        """Takes over the open batches of an earlier run."""
        parts = self._journal.open_parts()
        if not parts:
            return
        logging.info("judge: %d batches of an earlier run are open", len(parts))
        self._recorded_ids = {e.request_id for e in read_ledger(self._recorder.ledger.path) if e.request_id}
        for part in parts:
            for request, number in part.requests:
                self._attempts[request] = Attempt(request, number)
                self._recorder.budget.reserve(part.usd)
            self._create(part, may_exist=True)

    # --- submitting

    def _submit(self) -> bool:
        """Uploads as many requests as one file and the caps allow, and creates their batch.

        Returns:
          Whether more may be submitted now.

        Raises:
          RunStoppedError: a cap allows no further request and no batch is open.
        """
        path = self._folder / f".batch-{uuid.uuid4().hex}.jsonl"
        try:
            attempts, usd, cap_error = self._write(path)
            if attempts:
                size_mb = path.stat().st_size / 1e6
                logging.info("judge: uploading a batch of %d requests, %.1f MB", len(attempts), size_mb)
                file_id = self._service.upload(path)
        finally:
            path.unlink(missing_ok=True)
        if attempts:
            self._attempts |= {a.request: a for a in attempts}
            requests = [(a.request, a.number) for a in attempts]
            mode = self._recorder.response_format.mode
            part = BatchPart(uuid.uuid4().hex, file_id, requests, mode, usd / len(attempts))
            self._journal.uploaded(part)
            self._create(part, may_exist=False)
        elif cap_error is not None and not self._open:
            raise cap_error
        return cap_error is None

    def _write(self, path: Path) -> tuple[list[Attempt], float, RunStoppedError | None]:
        """Writes one file of requests.

        Returns:
          The requests in the file, the most they can cost, and the cap that does not allow more.
        """
        attempts: list[Attempt] = []
        total, size = 0.0, 0
        with open(path, "wb") as f:
            while self._queue and len(attempts) < self._config.batch.max_requests:
                attempt = self._queue[0]
                try:
                    line, usd = self._line(attempt, len(attempts))
                except SampleError as e:
                    self._queue.popleft()
                    self._recorder.skip(attempt.request, e)
                    continue
                if size + len(line) > self._config.batch.max_bytes:
                    break
                cap_error = self._recorder.budget.cap_error(usd)
                if cap_error is not None:
                    return attempts, total, cap_error
                self._queue.popleft()
                self._recorder.budget.reserve(usd)
                f.write(line)
                attempts.append(attempt)
                total, size = total + usd, size + len(line)
        return attempts, total, None

    def _line(self, attempt: Attempt, number: int) -> tuple[bytes, float]:
        """A request's line in the file, and the most it can cost."""
        prepared = self._builder.prepare(attempt.request.id)
        mode = self._recorder.response_format.mode
        body = self._builder.body(prepared, mode, attempt.adjustments, repeat=attempt.request.repeat)
        fields = {"custom_id": str(number), "method": "POST", "url": ENDPOINT, "body": body}
        line = json.dumps(fields, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"
        if len(line) > self._config.batch.max_bytes:
            raise SampleError("too_large", f"{len(line)} bytes do not fit into a batch file")
        return line, self._builder.max_cost_usd(prepared, attempt.adjustments, batch=True)

    def _create(self, part: BatchPart, *, may_exist: bool) -> None:
        self._open.append(part)
        if part.batch_id is None:
            part.batch_id = self._service.create(part, may_exist=may_exist)
            self._journal.created(part)

    # --- collecting

    def _poll(self, part: BatchPart) -> None:
        """Requests a batch's status, and collects its answers when it has ended.

        Raises:
          RunStoppedError: the run cannot continue; the answers of the batch are in the ledger.
        """
        assert part.batch_id is not None
        batch = self._service.retrieve(part.batch_id)
        if batch.status not in _ENDED:
            counts = batch.request_counts
            progress = f"{counts.completed} of {counts.total} answered" if counts else "waiting"
            logging.info("judge: batch %s: %s, %s", part.batch_id, batch.status, progress)
            return
        self._open.remove(part)
        self._is_queue_full = False
        error = self._requeue_failed(part, batch) if batch.status == "failed" else self._collect(part, batch)
        self._recorder.ledger.flush()
        self._journal.finished(part, batch.status)
        if error is not None:
            raise error

    def _requeue_failed(self, part: BatchPart, batch: Any) -> RunStoppedError | None:
        """A refused batch: its requests wait for other batches if the account's queue is full, else the run stops."""
        errors = (batch.errors.data if batch.errors else None) or []
        code = errors[0].code if errors else ""
        detail = one_line(errors[0].message if errors else "no reason given")
        for request, _ in reversed(part.requests):
            self._queue.appendleft(self._attempts[request])
            self._recorder.budget.settle(part.usd, 0.0)
        if code == "token_limit_exceeded" and self._open:
            logging.info("judge: the account's queue is full (%s); waiting for a batch to end", detail)
            self._is_queue_full = True
            return None
        fix = "lower batch.max_requests" if code == "token_limit_exceeded" else "see the provider's page"
        line = f"judge: {self._config.url} refused batch {batch.id} (batch_failed): {detail}; {fix}, then run again"
        return RunStoppedError("batch_failed", line)

    def _collect(self, part: BatchPart, batch: Any) -> RunStoppedError | None:
        """Records every line of the two result files; requests without a line are queued again."""
        error: RunStoppedError | None = None
        unanswered = dict.fromkeys(str(i) for i in range(len(part.requests)))
        for line in self._service.results(batch):
            custom_id = str(line.get("custom_id"))
            if custom_id not in unanswered:
                logging.warning("judge: batch %s answers %r, which was not requested", batch.id, custom_id[:40])
                continue
            del unanswered[custom_id]
            error = self._record(part, int(custom_id), line) or error
        expired = {"code": "batch_expired", "message": f"the batch is {batch.status} without an answer"}
        for custom_id in unanswered:
            self._record(part, int(custom_id), {"id": f"{batch.id}/{custom_id}", "error": expired})
        if batch.status == "cancelled" and unanswered and error is None:
            message = f"judge: batch {batch.id} was cancelled (batch_failed); run the same command to submit the rest"
            return RunStoppedError("batch_failed", message)
        return error

    def _record(self, part: BatchPart, number: int, line: dict[str, Any]) -> RunStoppedError | None:
        """Records one result line, and queues its request again after a retry outcome."""
        request, attempt_number = part.requests[number]
        previous = self._attempts[request]
        attempt = Attempt(request, attempt_number, previous.adjustments, previous.failures)
        outcome, payload = classify_batch_line(line, self._builder.rubric, max_wait_s=self._config.limits.max_wait_s)
        request_id = str(line.get("id"))
        outcome, next_attempt = self._recorder.record(
            attempt, outcome, payload, mode=part.mode, reserved_usd=part.usd, request_id=request_id, batch=True,
            is_recorded=request_id in self._recorded_ids,
        )  # fmt: skip
        if outcome.action == "retry":
            self._queue.append(next_attempt)
        elif outcome.action == "stop":
            return self._recorder.stop_error(outcome)
        else:
            self._recorder.progress.add()
        return None
