"""The response to a chat completion request, at once or as a stream.

Source: https://platform.openai.com/docs/api-reference/chat/object and .../chat-streaming
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import secrets
import time
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from typing import Any

from absl import logging
from starlette.requests import Request

from mmssr_jax.data.tokenizer import Tokenizer
from mmssr_jax.serving.api_error import ApiError
from mmssr_jax.serving.chat_requests import GenerationRequest
from mmssr_jax.serving.config import ServeConfig
from mmssr_jax.serving.engine import GenerationJob, TextDelta
from mmssr_jax.serving.token_logprob import TokenLogprob, to_json

_DISCONNECT_POLL_S = 1.0  # time between checks whether the client is still connected


class Completion:
    """The response to one request.

    Args:
      jobs: one for each of its answers.
      config: the model's name and the time of an answer.
      tokenizer: of the model.
      created: the time of the request, in seconds since 1970.
    """

    def __init__(self, jobs: Sequence[GenerationJob], config: ServeConfig, tokenizer: Tokenizer, *, created: int):
        self._jobs, self._config, self._tokenizer = jobs, config, tokenizer
        self._head = {"id": f"chatcmpl-{secrets.token_hex(12)}", "created": created, "model": config.served_name}

    @property
    def _request(self) -> GenerationRequest:
        return self._jobs[0].request

    def _usage(self) -> dict[str, int]:
        prompt, answer = len(self._jobs[0].prompt.tokens), sum(job.answer.num_tokens for job in self._jobs)
        return {"prompt_tokens": prompt, "completion_tokens": answer, "total_tokens": prompt + answer}

    async def _deltas(self, request: Request | None = None) -> AsyncGenerator[TextDelta, None]:
        """The answers' texts until their end; a disconnected client or the timeout cancels the jobs.

        Raises:
          ApiError: the engine failed, or the timeout was reached.
        """
        unfinished = len(self._jobs)
        try:
            while unfinished:
                delta = await self._next(request)
                if delta is None:
                    return
                if delta.error is not None:
                    raise delta.error
                yield delta
                unfinished -= delta.finish_reason is not None
            usage, seconds = self._usage(), time.monotonic() - self._jobs[0].arrived
            logging.info(
                "answered a prompt of %d tokens with %d tokens in %.2f s",
                usage["prompt_tokens"], usage["completion_tokens"], seconds,
            )  # fmt: skip
        finally:
            for job in self._jobs:
                job.cancelled = True

    async def _next(self, request: Request | None) -> TextDelta | None:
        """The next text; None if the client has disconnected."""
        while True:
            left = self._jobs[0].arrived + self._config.timeout_s - time.monotonic()
            if left <= 0:
                raise ApiError(504, f"no answer within {self._config.timeout_s:g} s", code="timeout")
            with contextlib.suppress(asyncio.TimeoutError):
                return await asyncio.wait_for(self._jobs[0].deltas.get(), min(left, _DISCONNECT_POLL_S))
            if request is not None and await request.is_disconnected():
                return None

    async def complete(self, request: Request) -> dict[str, Any]:
        """A `chat.completion`."""
        texts = [""] * len(self._jobs)
        reasons: list[str | None] = [None] * len(self._jobs)
        tokens: list[list[TokenLogprob]] = [[] for _ in self._jobs]
        async for delta in self._deltas(request):
            texts[delta.choice] += delta.text
            tokens[delta.choice] += delta.tokens
            reasons[delta.choice] = delta.finish_reason
        choices = [
            {
                "index": index,
                "message": {"role": "assistant", "content": texts[index], "refusal": None},
                "logprobs": self._logprobs(tokens[index]),
                "finish_reason": reasons[index],
            }
            for index in range(len(self._jobs))
        ]
        return {**self._head, "object": "chat.completion", "choices": choices, "usage": self._usage()}

    def _logprobs(self, tokens: Sequence[TokenLogprob]) -> dict[str, Any] | None:
        return None if self._request.top_logprobs is None else to_json(tokens, self._tokenizer)

    async def stream(self) -> AsyncIterator[str]:
        """`chat.completion.chunk` objects as server-sent events; an error is the last one."""
        try:
            for job in self._jobs:
                yield self._chunk(job.choice, {"role": "assistant", "content": ""})
            async with contextlib.aclosing(self._deltas()) as deltas:  # a disconnected client cancels the jobs at once
                async for delta in deltas:
                    if delta.text or delta.tokens:
                        yield self._chunk(delta.choice, {"content": delta.text}, tokens=delta.tokens)
                    if delta.finish_reason is not None:
                        yield self._chunk(delta.choice, {}, finish_reason=delta.finish_reason)
            if self._request.include_usage:
                yield _sse({**self._head, "object": "chat.completion.chunk", "choices": [], "usage": self._usage()})
        except ApiError as e:
            yield _sse(e.body())
        yield "data: [DONE]\n\n"

    def _chunk(
        self, index: int, delta: dict[str, str], *, tokens: Sequence[TokenLogprob] = (),
        finish_reason: str | None = None,
    ) -> str:  # fmt: skip
        logprobs = self._logprobs(tokens) if tokens else None
        choice = {"index": index, "delta": delta, "logprobs": logprobs, "finish_reason": finish_reason}
        chunk = {**self._head, "object": "chat.completion.chunk", "choices": [choice]}
        return _sse({**chunk, "usage": None} if self._request.include_usage else chunk)


def _sse(value: dict[str, Any]) -> str:
    return f"data: {json.dumps(value, ensure_ascii=False)}\n\n"
