"""The routes of the endpoint: chat completions and the list of models, compatible with OpenAI's API.

    POST /v1/chat/completions     GET /v1/models     GET /v1/models/<name>     GET /health (no token needed)

Source: https://platform.openai.com/docs/api-reference/chat
"""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import json
import secrets
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine
from typing import Any

from absl import logging
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from mmssr_jax.serving.api_error import ApiError
from mmssr_jax.serving.body import BodyReader
from mmssr_jax.serving.chat_requests import GenerationRequest, read_request
from mmssr_jax.serving.config import ServeConfig
from mmssr_jax.serving.engine import Engine, GenerationJob, TextDelta

_PARSERS = 2  # threads that parse and tokenise: the tokenizer holds the GIL, and the event loop needs it too
_DISCONNECT_POLL_S = 1.0  # time between checks whether the client is still connected

Handler = Callable[[Request], Coroutine[Any, Any, Response]]


def make_app(engine: Engine, config: ServeConfig, *, token: str | None) -> Starlette:
    """The application.

    Args:
      engine: generates the answers; started and closed by the caller.
      config: names and limits.
      token: what clients must send as `Authorization: Bearer …`; None accepts every client.
    """
    created = int(time.time())
    model = {"id": config.served_name, "object": "model", "created": created, "owned_by": "mmssr_jax"}

    bodies = BodyReader(max_bytes=config.max_body_mib * 2**20, timeout_s=config.body_timeout_s)
    parsers = asyncio.Semaphore(_PARSERS)

    async def chat(request: Request) -> Response:
        engine.check_queue()
        async with bodies.read(request) as body, parsers:
            generation_request = await asyncio.to_thread(
                read_request, body, model=config.served_name, max_tokens=config.max_tokens, max_chars=config.max_chars,
                max_images=config.max_images, max_pixels=config.prompts.max_pixels,
            )  # fmt: skip
            job = await engine.submit(generation_request)
        completion = _Completion(job, config, created=int(time.time()))
        if generation_request.stream:
            return StreamingResponse(completion.stream(), media_type="text/event-stream")
        return JSONResponse(await completion.complete(request))

    async def models(_: Request) -> Response:
        return JSONResponse({"object": "list", "data": [model]})

    async def one_model(request: Request) -> Response:
        name = request.path_params["name"]
        if name != config.served_name:
            raise ApiError(404, f"the model {name!r} does not exist", param="model", code="model_not_found")
        return JSONResponse(model)

    async def health(_: Request) -> Response:
        return JSONResponse({"status": "ok"})

    def authenticated(handler: Handler) -> Handler:
        async def wrapper(request: Request) -> Response:
            given = request.headers.get("authorization", "").encode("latin-1")
            if token is not None and not hmac.compare_digest(given, f"Bearer {token}".encode()):
                raise ApiError(401, "wrong or missing access token", code="invalid_api_key",
                               headers={"WWW-Authenticate": "Bearer"})  # fmt: skip
            return await handler(request)

        return wrapper

    routes = [
        Route("/v1/chat/completions", authenticated(chat), methods=["POST"]),
        Route("/v1/models", authenticated(models)),
        Route("/v1/models/{name:path}", authenticated(one_model)),
        Route("/health", health),
    ]
    return Starlette(
        routes=routes,
        exception_handlers={ApiError: _api_error, HTTPException: _http_error, Exception: _unexpected},
    )


class _Completion:
    """The response to one job, at once or as a stream."""

    def __init__(self, job: GenerationJob, config: ServeConfig, *, created: int):
        self._job, self._config = job, config
        self._head = {"id": f"chatcmpl-{secrets.token_hex(12)}", "created": created, "model": config.served_name}

    @property
    def _request(self) -> GenerationRequest:
        return self._job.request

    def _usage(self) -> dict[str, int]:
        prompt, answer = len(self._job.prompt.tokens), self._job.answer.num_tokens
        return {"prompt_tokens": prompt, "completion_tokens": answer, "total_tokens": prompt + answer}

    async def _deltas(self, request: Request | None = None) -> AsyncGenerator[TextDelta, None]:
        """The job's text until its end; a disconnected client or the timeout cancels the job.

        Raises:
          ApiError: the engine failed, or the timeout was reached.
        """
        try:
            while True:
                delta = await self._next(request)
                if delta is None:
                    return
                if delta.error is not None:
                    raise delta.error
                yield delta
                if delta.finish_reason is not None:
                    logging.info(
                        "answered a prompt of %d tokens with %d tokens in %.2f s",
                        len(self._job.prompt.tokens), self._job.answer.num_tokens,
                        time.monotonic() - self._job.arrived,
                    )  # fmt: skip
                    return
        finally:
            self._job.cancelled = True

    async def _next(self, request: Request | None) -> TextDelta | None:
        """The next text; None if the client has disconnected."""
        while True:
            left = self._job.arrived + self._config.timeout_s - time.monotonic()
            if left <= 0:
                raise ApiError(504, f"no answer within {self._config.timeout_s:g} s", code="timeout")
            with contextlib.suppress(asyncio.TimeoutError):
                return await asyncio.wait_for(self._job.deltas.get(), min(left, _DISCONNECT_POLL_S))
            if request is not None and await request.is_disconnected():
                return None

    async def complete(self, request: Request) -> dict[str, Any]:
        """A `chat.completion`."""
        text, finish_reason = "", None
        async for delta in self._deltas(request):
            text, finish_reason = text + delta.text, delta.finish_reason
        message = {"role": "assistant", "content": text, "refusal": None}
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": finish_reason}
        return {**self._head, "object": "chat.completion", "choices": [choice], "usage": self._usage()}

    async def stream(self) -> AsyncIterator[str]:
        """`chat.completion.chunk` objects as server-sent events; an error is the last one."""
        try:
            yield self._chunk({"role": "assistant", "content": ""})
            async with contextlib.aclosing(self._deltas()) as deltas:  # a disconnected client cancels the job at once
                async for delta in deltas:
                    if delta.text:
                        yield self._chunk({"content": delta.text})
                    if delta.finish_reason is not None:
                        yield self._chunk({}, delta.finish_reason)
            if self._request.include_usage:
                yield _sse({**self._head, "object": "chat.completion.chunk", "choices": [], "usage": self._usage()})
        except ApiError as e:
            yield _sse(e.body())
        yield "data: [DONE]\n\n"

    def _chunk(self, delta: dict[str, str], finish_reason: str | None = None) -> str:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}
        chunk = {**self._head, "object": "chat.completion.chunk", "choices": [choice]}
        return _sse({**chunk, "usage": None} if self._request.include_usage else chunk)


def _sse(value: dict[str, Any]) -> str:
    return f"data: {json.dumps(value, ensure_ascii=False)}\n\n"


async def _api_error(_: Request, error: Exception) -> Response:
    assert isinstance(error, ApiError)
    return JSONResponse(error.body(), error.status, headers=error.headers)


async def _http_error(request: Request, error: Exception) -> Response:
    """Starlette's errors: an unknown path, or a method that it does not have."""
    assert isinstance(error, HTTPException)
    api_error = ApiError(
        error.status_code, f"{request.method} {request.url.path}: {error.detail}", headers=error.headers
    )
    return await _api_error(request, api_error)


async def _unexpected(request: Request, _: Exception) -> Response:
    """A bug of the server is reported without detail; the log has the traceback."""
    return await _api_error(request, ApiError(500, "the server had an error"))
