"""Dynamic batching: requests that arrive at any time are answered in fixed-shape batches by one thread.

    submit (event loop) ──> queue ──up to `rows` of one shape──> worker thread ──> text of each job (event loop)

A batch takes the oldest request and those of the same shape, for which it waits briefly. The answer to a request
depends neither on the other requests of its batch nor on its row: batch rows are independent, and shapes are fixed.
"""

from __future__ import annotations

import asyncio
import collections
import dataclasses
import secrets
import threading
import time

import numpy as np
from absl import logging

from mmssr_jax.data.example import Example
from mmssr_jax.generation.prompting import Prompter
from mmssr_jax.generation.stream import RowSampling, StreamGenerator
from mmssr_jax.serving.answer_text import AnswerText
from mmssr_jax.serving.api_error import ApiError, too_busy
from mmssr_jax.serving.chat_requests import GenerationRequest


@dataclasses.dataclass(frozen=True)
class TextDelta:
    """A part of an answer; the last one has `finish_reason` or an error."""

    text: str = ""
    finish_reason: str | None = None
    error: ApiError | None = None


class GenerationJob:
    """A request in the queue or in a batch.

    Attributes:
      cancelled: may be set at any time.
      deltas: the answer, to be read in the event loop.
    """

    def __init__(self, request: GenerationRequest, prompt: Example, answer: AnswerText):
        self.request, self.prompt, self.answer = request, prompt, answer
        self.arrived = time.monotonic()
        self.cancelled = False
        self.deltas: asyncio.Queue[TextDelta] = asyncio.Queue()
        self._loop = asyncio.get_running_loop()

    def send(self, delta: TextDelta) -> None:
        """Sends from the worker thread to the event loop, unless it is closed."""
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self.deltas.put_nowait, delta)

    @property
    def is_done(self) -> bool:
        """Whether no more tokens are needed."""
        return self.cancelled or self.answer.finish_reason is not None


class Engine:
    """Answers jobs until it is closed; use as a context manager.

    Args:
      generator: the model.
      prompter: encodes and batches prompts.
      wait_s: how long the first job of a batch waits for others.
      queue: maximum number of waiting jobs.
    """

    def __init__(self, generator: StreamGenerator, prompter: Prompter, *, wait_s: float, queue: int):
        self._generator, self._prompter, self._wait_s, self._queue = generator, prompter, wait_s, queue
        self._waiting: collections.deque[GenerationJob] = collections.deque()
        self._changed = threading.Condition()
        self._closing = False
        self._thread = threading.Thread(target=self._work, name="serve", daemon=True)

    def __enter__(self) -> Engine:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Finishes the jobs in the queue and ends the thread."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        self._thread.join()

    def check_queue(self) -> None:
        """Raises ApiError, 429, if the queue is full."""
        if len(self._waiting) >= self._queue:
            raise too_busy()

    async def submit(self, request: GenerationRequest) -> GenerationJob:
        """Adds a request to the queue.

        Raises:
          ApiError: 429 if the queue is full, 400 if an image is unreadable or the prompt is too long.
        """
        self.check_queue()  # saves the work of decoding; checked again below
        try:
            prompt = await asyncio.to_thread(self._prompter.prompt, request.sample, system=request.system)
        except (OSError, ValueError) as e:
            code = "context_length_exceeded" if "do not fit" in str(e) else "image_parse_error"
            raise ApiError(400, str(e), param="messages", code=code) from None
        tokenizer = self._prompter.tokenizer
        end_ids = (tokenizer.end, tokenizer.pad)
        answer = AnswerText(tokenizer, end_ids=end_ids, stop=request.stop, max_tokens=request.max_tokens)
        job = GenerationJob(request, prompt, answer)
        with self._changed:
            self.check_queue()
            if self._closing:
                raise ApiError(503, "the server is shutting down")
            self._waiting.append(job)
            self._changed.notify_all()
        return job

    def _work(self) -> None:
        while (batch := self._next_batch()) is not None:
            try:
                self._answer(batch)
            except Exception:  # a failing batch must not end the server; the log has the traceback
                logging.exception("a batch of %d requests failed", len(batch))
                for job in batch:
                    job.send(TextDelta(error=ApiError(500, "the server had an error while answering")))

    def _next_batch(self) -> list[GenerationJob] | None:
        """The next batch; None if the engine is closed and the queue is empty."""
        with self._changed:
            while True:
                self._waiting = collections.deque(job for job in self._waiting if not job.cancelled)
                if not self._waiting:
                    if self._closing:
                        return None
                    self._changed.wait()
                    continue
                first = self._waiting[0]
                shape = self._prompter.shape(first.prompt)
                batch = [job for job in self._waiting if self._prompter.shape(job.prompt) == shape]
                batch = batch[: self._prompter.config.rows]
                left = first.arrived + self._wait_s - time.monotonic()
                if len(batch) == self._prompter.config.rows or left <= 0 or self._closing:
                    taken = set(map(id, batch))
                    self._waiting = collections.deque(job for job in self._waiting if id(job) not in taken)
                    return batch
                self._changed.wait(left)

    def _answer(self, batch: list[GenerationJob]) -> None:
        prompts = self._prompter.batch([job.prompt for job in batch], self._prompter.shape(batch[0].prompt))
        stream = self._generator.start(prompts, _sampling(batch, self._prompter.config.rows))
        while not all(job.is_done for job in batch):
            tokens = self._generator.next_tokens(stream)
            for job, row in zip(batch, tokens, strict=False):
                if job.is_done:
                    continue
                text = job.answer.add(int(t) for t in row)
                if text or job.answer.finish_reason:
                    job.send(TextDelta(text, job.answer.finish_reason))


def _sampling(batch: list[GenerationJob], rows: int) -> RowSampling:
    temperature, top_p = np.zeros(rows, np.float32), np.ones(rows, np.float32)
    seeds = np.zeros(rows, np.int32)
    for row, job in enumerate(batch):
        temperature[row], top_p[row] = job.request.temperature, job.request.top_p
        seeds[row] = (secrets.randbits(31) if job.request.seed is None else job.request.seed) & 0x7FFFFFFF
    return RowSampling(temperature, top_p, seeds)
