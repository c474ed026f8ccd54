"""The routes of the endpoint: chat completions and the list of models, as OpenAI's API has them.

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

from mmssr_jax.serving.api_error import ApiError, too_busy
from mmssr_jax.serving.chat_requests import Ask, read_request
from mmssr_jax.serving.config import ServeConfig
from mmssr_jax.serving.engine import Engine, Event, GenerationJob

_GLANCE_S = 1.0  # how often it is looked whether a client is still there

Handler = Callable[[Request], Coroutine[Any, Any, Response]]


def make_app(engine: Engine, config: ServeConfig, *, token: str | None) -> Starlette:
    """The application.

    Args:
      engine: answers; started and closed by the caller.
      config: names and limits.
      token: what clients must send as `Authorization: Bearer …`; None lets everybody in.
    """
    created = int(time.time())
    model = {"id": config.served_name, "object": "model", "created": created, "owned_by": "mmssr_jax"}

    bodies = asyncio.Semaphore(config.queue + config.prompts.rows)  # bounds the memory for bodies that come in

    async def chat(request: Request) -> Response:
        if bodies.locked():
            raise too_busy()
        async with bodies:
            body = await _body(request, config.max_body_mib * 2**20)
            ask = await asyncio.to_thread(
                read_request, body, model=config.served_name, max_tokens=config.max_tokens,
                max_images=config.max_images, max_pixels=config.prompts.max_pixels,
            )  # fmt: skip
            job = await engine.submit(ask)
        reply = _Reply(job, config, created=int(time.time()))
        if ask.stream:
            return StreamingResponse(reply.pieces(), media_type="text/event-stream")
        return JSONResponse(await reply.whole(request))

    async def models(_: Request) -> Response:
        return JSONResponse({"object": "list", "data": [model]})

    async def one_model(request: Request) -> Response:
        name = request.path_params["name"]
        if name != config.served_name:
            raise ApiError(404, f"the model {name!r} does not exist", param="model", code="model_not_found")
        return JSONResponse(model)

    async def health(_: Request) -> Response:
        return JSONResponse({"status": "ok"})

    def guarded(handler: Handler) -> Handler:
        async def checked(request: Request) -> Response:
            given = request.headers.get("authorization", "").encode("latin-1")
            if token is not None and not hmac.compare_digest(given, f"Bearer {token}".encode()):
                raise ApiError(401, "wrong or missing access token", code="invalid_api_key",
                               headers={"WWW-Authenticate": "Bearer"})  # fmt: skip
            return await handler(request)

        return checked

    routes = [
        Route("/v1/chat/completions", guarded(chat), methods=["POST"]),
        Route("/v1/models", guarded(models)),
        Route("/v1/models/{name:path}", guarded(one_model)),
        Route("/health", health),
    ]
    return Starlette(
        routes=routes,
        exception_handlers={ApiError: _api_error, HTTPException: _http_error, Exception: _unexpected},
    )


async def _body(request: Request, limit: int) -> bytes:
    """The request's body.

    Raises:
      ApiError: 413 where it is larger than `limit` bytes, whatever its header says.
    """
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > limit:
            raise ApiError(413, f"the request is larger than {limit >> 20} MiB", code="request_too_large",
                           headers={"Connection": "close"})  # fmt: skip
    return bytes(body)


class _Reply:
    """The answer to one job, whole or in pieces."""

    def __init__(self, job: GenerationJob, config: ServeConfig, *, created: int):
        self._job, self._config = job, config
        self._head = {"id": f"chatcmpl-{secrets.token_hex(12)}", "created": created, "model": config.served_name}

    @property
    def _ask(self) -> Ask:
        return self._job.ask

    def _usage(self) -> dict[str, int]:
        prompt, answer = len(self._job.prompt.tokens), self._job.answer.tokens
        return {"prompt_tokens": prompt, "completion_tokens": answer, "total_tokens": prompt + answer}

    async def _events(self, request: Request | None = None) -> AsyncGenerator[Event, None]:
        """The job's events until its end; a client that leaves, or a time that is up, cancels it.

        Raises:
          ApiError: the engine failed, or the time is up.
        """
        try:
            while True:
                event = await self._next(request)
                if event is None:
                    return
                if event.error is not None:
                    raise event.error
                yield event
                if event.finish is not None:
                    logging.info(
                        "answered %d tokens with %d in %.2f s", len(self._job.prompt.tokens), self._job.answer.tokens,
                        time.monotonic() - self._job.arrived,
                    )  # fmt: skip
                    return
        finally:
            self._job.cancelled = True

    async def _next(self, request: Request | None) -> Event | None:
        """The next event; None when the client is gone."""
        while True:
            left = self._job.arrived + self._config.timeout_s - time.monotonic()
            if left <= 0:
                raise ApiError(504, f"no answer within {self._config.timeout_s:g} s", code="timeout")
            with contextlib.suppress(asyncio.TimeoutError):
                return await asyncio.wait_for(self._job.events.get(), min(left, _GLANCE_S))
            if request is not None and await request.is_disconnected():
                return None

    async def whole(self, request: Request) -> dict[str, Any]:
        """A `chat.completion`."""
        text, finish = "", None
        async for event in self._events(request):
            text, finish = text + event.text, event.finish
        message = {"role": "assistant", "content": text, "refusal": None}
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": finish}
        return {**self._head, "object": "chat.completion", "choices": [choice], "usage": self._usage()}

    async def pieces(self) -> AsyncIterator[str]:
        """`chat.completion.chunk` objects as server-sent events; an error is the last of them."""
        try:
            yield self._piece({"role": "assistant", "content": ""})
            async with contextlib.aclosing(self._events()) as events:  # a client that leaves cancels the job at once
                async for event in events:
                    if event.text:
                        yield self._piece({"content": event.text})
                    if event.finish is not None:
                        yield self._piece({}, event.finish)
            if self._ask.include_usage:
                yield _sse({**self._head, "object": "chat.completion.chunk", "choices": [], "usage": self._usage()})
        except ApiError as e:
            yield _sse(e.body())
        yield "data: [DONE]\n\n"

    def _piece(self, delta: dict[str, str], finish: str | None = None) -> str:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
        piece = {**self._head, "object": "chat.completion.chunk", "choices": [choice]}
        return _sse({**piece, "usage": None} if self._ask.include_usage else piece)


def _sse(value: dict[str, Any]) -> str:
    return f"data: {json.dumps(value, ensure_ascii=False)}\n\n"


async def _api_error(_: Request, error: Exception) -> Response:
    assert isinstance(error, ApiError)
    return JSONResponse(error.body(), error.status, headers=error.headers)


async def _http_error(request: Request, error: Exception) -> Response:
    """Starlette's own: no such path, or not with this method."""
    assert isinstance(error, HTTPException)
    wrong = ApiError(error.status_code, f"{request.method} {request.url.path}: {error.detail}", headers=error.headers)
    return await _api_error(request, wrong)


async def _unexpected(request: Request, _: Exception) -> Response:
    """What is our fault is told without a detail; the log has the traceback."""
    return await _api_error(request, ApiError(500, "the server had an error"))
