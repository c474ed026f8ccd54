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
from collections.abc import Collection

import numpy as np
from absl import logging

from mmssr_jax.data.batch import BatchShape
from mmssr_jax.data.example import Example
from mmssr_jax.data.tokenizer import Tokenizer
from mmssr_jax.generation.prompting import Prompter
from mmssr_jax.generation.stream import RowSampling, Stream, StreamGenerator, TokenChunk
from mmssr_jax.serving.answer_text import AnswerText
from mmssr_jax.serving.api_error import ApiError, too_busy
from mmssr_jax.serving.chat_requests import GenerationRequest
from mmssr_jax.serving.json_guide import JsonGuide
from mmssr_jax.serving.token_logprob import TokenLogprob

_SEED_STEP = 0x9E3779B1  # between the seeds of a request's answers


@dataclasses.dataclass(frozen=True)
class TextDelta:
    """A part of an answer; the last one has `finish_reason` or an error.

    Attributes:
      text: what follows the parts before.
      tokens: those that the text ends, where the request asks for log-probabilities.
      choice: which of the request's answers.
    """

    text: str = ""
    tokens: tuple[TokenLogprob, ...] = ()
    choice: int = 0
    finish_reason: str | None = None
    error: ApiError | None = None


class GenerationJob:
    """One answer of a request, in the queue or in a batch.

    Args:
      request, prompt, answer: the request, its tokens, and the answer so far.
      choice: which of the request's answers.
      deltas: the parts of all answers of the request, to be read in the event loop.

    Attributes:
      cancelled: may be set at any time.
      seed: of the sampling.
    """

    def __init__(
        self, request: GenerationRequest, prompt: Example, answer: AnswerText, choice: int,
        deltas: asyncio.Queue[TextDelta],
    ):  # fmt: skip
        self.request, self.prompt, self.answer, self.choice, self.deltas = request, prompt, answer, choice, deltas
        seed = secrets.randbits(31) if request.seed is None else request.seed + choice * _SEED_STEP
        self.seed = seed & 0x7FFFFFFF
        self.arrived = time.monotonic()
        self.cancelled = False
        self._logprobs: list[TokenLogprob] = []
        self._sent_logprobs = 0
        self._loop = asyncio.get_running_loop()

    def add(self, chunk: TokenChunk, row: int, *, ended: bool = False) -> None:
        """Adds the tokens of one row of a chunk, after which the answer may have ended; sends what can be told now."""
        before = self.answer.num_tokens
        text = self.answer.add((int(t) for t in chunk.tokens[row]), ended=ended)
        tokens = self.answer.num_tokens - before
        new: tuple[TokenLogprob, ...] = ()
        if self.request.top_logprobs is not None:
            self._logprobs += [_token_logprob(chunk, row, n, self.request.top_logprobs) for n in range(tokens)]
            covered = self.answer.covered()
            new, self._sent_logprobs = tuple(self._logprobs[self._sent_logprobs : covered]), covered
        if text or new or self.answer.finish_reason:
            self.send(TextDelta(text, new, finish_reason=self.answer.finish_reason))

    def send(self, delta: TextDelta) -> None:
        """Sends from the worker thread to the event loop, unless it is closed."""
        if not self._loop.is_closed():
            delta = dataclasses.replace(delta, choice=self.choice)
            self._loop.call_soon_threadsafe(self.deltas.put_nowait, delta)

    @property
    def is_done(self) -> bool:
        """Whether no more tokens are needed."""
        return self.cancelled or self.answer.finish_reason is not None


def _token_logprob(chunk: TokenChunk, row: int, n: int, top: int) -> TokenLogprob:
    pairs = zip(chunk.top_tokens[row, n, :top].tolist(), chunk.top_logprobs[row, n, :top].tolist(), strict=True)
    return TokenLogprob(int(chunk.tokens[row, n]), float(chunk.logprobs[row, n]), tuple(pairs))


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

    def check_queue(self, jobs: int = 1) -> None:
        """Raises ApiError, 429, if the queue has no room for some more jobs."""
        if len(self._waiting) + jobs > self._queue:
            raise too_busy()

    @property
    def tokenizer(self) -> Tokenizer:
        """Of the model."""
        return self._prompter.tokenizer

    def shape(self, job: GenerationJob) -> BatchShape:
        """The shape that a job's prompt is padded to; each is compiled for once."""
        return self._prompter.shape(job.prompt)

    async def submit(self, request: GenerationRequest, *, unless: Collection[BatchShape] = ()) -> list[GenerationJob]:
        """Adds a request to the queue: one job for each of its answers; they share one `deltas`.

        Args:
          request: of the client.
          unless: shapes of prompts that should not be answered; there are no jobs then.

        Raises:
          ApiError: 429 if the queue is full, 400 if an image is unreadable or the prompt is too long.
        """
        self.check_queue(request.choices)  # saves the work of decoding; checked again below
        try:
            prompt = await asyncio.to_thread(self._prompter.prompt, request.sample, system=request.system)
        except (OSError, ValueError) as e:
            code = "context_length_exceeded" if "do not fit" in str(e) else "image_parse_error"
            raise ApiError(400, str(e), param="messages", code=code) from None
        if self._prompter.shape(prompt) in unless:
            return []
        tokenizer = self._prompter.tokenizer
        end_ids = (tokenizer.end, tokenizer.pad)
        deltas: asyncio.Queue[TextDelta] = asyncio.Queue()
        jobs = []
        for choice in range(request.choices):
            answer = AnswerText(tokenizer, end_ids=end_ids, stop=request.stop, max_tokens=request.max_tokens)
            jobs.append(GenerationJob(request, prompt, answer, choice, deltas))
        with self._changed:
            self.check_queue(len(jobs))
            if self._closing:
                raise ApiError(503, "the server is shutting down")
            self._waiting.extend(jobs)
            self._changed.notify_all()
        return jobs

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
                kind = self._kind(first)
                batch = [job for job in self._waiting if self._kind(job) == kind]
                batch = batch[: self._prompter.config.rows]
                left = first.arrived + self._wait_s - time.monotonic()
                if len(batch) == self._prompter.config.rows or left <= 0 or self._closing:
                    taken = set(map(id, batch))
                    self._waiting = collections.deque(job for job in self._waiting if id(job) not in taken)
                    return batch
                self._changed.wait(left)

    def _kind(self, job: GenerationJob) -> tuple[BatchShape, bool]:
        """What the jobs of a batch have in common."""
        return self.shape(job), job.request.json

    def _answer(self, batch: list[GenerationJob]) -> None:
        prompts = self._prompter.batch([job.prompt for job in batch], self._prompter.shape(batch[0].prompt))
        stream = self._generator.start(prompts, _sampling(batch, self._prompter.config.rows))
        if batch[0].request.json:
            self._answer_json(batch, stream)
            return
        logprobs = any(job.request.top_logprobs is not None for job in batch)
        while not all(job.is_done for job in batch):
            chunk = self._generator.next_tokens(stream, logprobs=logprobs)
            for row, job in enumerate(batch):
                if not job.is_done:
                    job.add(chunk, row)

    def _answer_json(self, batch: list[GenerationJob], stream: Stream) -> None:
        """Token by token, each chosen here."""
        guides = [
            JsonGuide(
                self.tokenizer, max_tokens=job.request.max_tokens, temperature=job.request.temperature,
                top_p=job.request.top_p, seed=job.seed,
            )
            for job in batch
        ]  # fmt: skip
        while not all(job.is_done for job in batch):
            top, logprobs = self._generator.candidates(stream)
            tokens = top[:, 0].copy()
            for row, (job, guide) in enumerate(zip(batch, guides, strict=True)):
                if not job.is_done:
                    tokens[row] = guide.choose(top[row], logprobs[row])
            chosen = self._generator.push(stream, tokens)
            chunk = TokenChunk(tokens[:, None], chosen[:, None], top[:, None], logprobs[:, None])
            for row, (job, guide) in enumerate(zip(batch, guides, strict=True)):
                if not job.is_done:
                    job.add(chunk, row, ended=guide.done)


def _sampling(batch: list[GenerationJob], rows: int) -> RowSampling:
    temperature, top_p = np.zeros(rows, np.float32), np.ones(rows, np.float32)
    seeds = np.zeros(rows, np.int32)
    for row, job in enumerate(batch):
        temperature[row], top_p[row], seeds[row] = job.request.temperature, job.request.top_p, job.seed
    return RowSampling(temperature, top_p, seeds)
