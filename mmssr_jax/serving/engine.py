"""Requests that come at any time, answered in fixed-shape batches by one thread.

    submit (event loop) ──> queue ──up to `rows` of one shape──> worker thread ──> events of each job (event loop)

A batch takes the oldest request and those of its shape; it waits a moment for them to come. What a request is answered
depends neither on its neighbours nor on its row: rows do not see each other, and shapes are fixed.
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
from mmssr_jax.serving.chat_requests import Ask


@dataclasses.dataclass(frozen=True)
class Event:
    """A piece of text; the last one has `finish`, or the error that ended it."""

    text: str = ""
    finish: str | None = None
    error: ApiError | None = None


class GenerationJob:
    """One request on its way. `cancelled` may be set at any time; `events` are read in the event loop."""

    def __init__(self, ask: Ask, prompt: Example, answer: AnswerText):
        self.ask, self.prompt, self.answer = ask, prompt, answer
        self.arrived = time.monotonic()
        self.cancelled = False
        self.events: asyncio.Queue[Event] = asyncio.Queue()
        self._loop = asyncio.get_running_loop()

    def send(self, event: Event) -> None:
        """From the worker to the event loop; a loop that is gone has nobody who listens."""
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self.events.put_nowait, event)

    @property
    def is_over(self) -> bool:
        return self.cancelled or self.answer.finish is not None


class Engine:
    """Answers jobs until it is closed; use as a context manager.

    Args:
      generator: the model.
      prompter: makes its prompts.
      wait_s: how long the first of a batch waits for others.
      queue: jobs that may wait.
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
        """Finishes the jobs that are there and ends the thread."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        self._thread.join()

    async def submit(self, ask: Ask) -> GenerationJob:
        """Puts a request into the queue.

        Raises:
          ApiError: 429 where the queue is full, 400 where the prompt cannot be made or does not fit.
        """
        if len(self._waiting) >= self._queue:  # before the work of decoding; it is checked again below
            raise too_busy()
        try:
            prompt = await asyncio.to_thread(self._prompter.prompt, ask.sample, system=ask.system)
        except (OSError, ValueError) as e:
            code = "context_length_exceeded" if "do not fit" in str(e) else "image_parse_error"
            raise ApiError(400, str(e), param="messages", code=code) from None
        tokenizer = self._prompter.tokenizer
        ends = (tokenizer.im_end, tokenizer.pad)
        job = GenerationJob(ask, prompt, AnswerText(tokenizer, ends=ends, stop=ask.stop, max_tokens=ask.max_tokens))
        with self._changed:
            if len(self._waiting) >= self._queue:
                raise too_busy()
            if self._closing:
                raise ApiError(503, "the server is shutting down")
            self._waiting.append(job)
            self._changed.notify_all()
        return job

    def _work(self) -> None:
        while (batch := self._take()) is not None:
            try:
                self._answer(batch)
            except Exception:  # a batch that fails must not end the server; the log has the traceback
                logging.exception("a batch of %d requests failed", len(batch))
                for job in batch:
                    job.send(Event(error=ApiError(500, "the server had an error while answering")))

    def _take(self) -> list[GenerationJob] | None:
        """The next batch; None when the engine is closed and nothing is left."""
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
        while not all(job.is_over for job in batch):
            tokens = self._generator.next_tokens(stream)
            for job, row in zip(batch, tokens, strict=False):
                if job.is_over:
                    continue
                text = job.answer.add(int(t) for t in row)
                if text or job.answer.finish:
                    job.send(Event(text, job.answer.finish))


def _sampling(batch: list[GenerationJob], rows: int) -> RowSampling:
    temperature, top_p = np.zeros(rows, np.float32), np.ones(rows, np.float32)
    seeds = np.zeros(rows, np.int32)
    for row, job in enumerate(batch):
        temperature[row], top_p[row] = job.ask.temperature, job.ask.top_p
        seeds[row] = (secrets.randbits(31) if job.ask.seed is None else job.ask.seed) & 0x7FFFFFFF
    return RowSampling(temperature, top_p, seeds)
