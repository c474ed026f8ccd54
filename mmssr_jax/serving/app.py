"""The routes of the endpoint: chat completions and the list of models, compatible with OpenAI's API.

    POST /v1/chat/completions     GET /v1/models     GET /v1/models/<name>     GET /health (no token needed)

Source: https://platform.openai.com/docs/api-reference/chat
"""

from __future__ import annotations

import asyncio
import functools
import hmac
import time
from collections.abc import Callable, Coroutine
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from mmssr_jax.serving.api_error import ApiError
from mmssr_jax.serving.body import BodyReader
from mmssr_jax.serving.chat_requests import read_request
from mmssr_jax.serving.completion import Completion
from mmssr_jax.serving.config import ServeConfig
from mmssr_jax.serving.engine import Engine

_PARSERS = 2  # threads that parse and tokenise: the tokenizer holds the GIL, and the event loop needs it too

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
                max_choices=min(config.max_choices, config.queue),
            )  # fmt: skip
            jobs = await engine.submit(generation_request)
        completion = Completion(jobs, config, engine.tokenizer, created=int(time.time()))
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

    authenticated = functools.partial(_authenticated, token)
    routes = [
        Route("/v1/chat/completions", authenticated(chat), methods=["POST"]),
        Route("/v1/models", authenticated(models)),
        Route("/v1/models/{name:path}", authenticated(one_model)),
        Route("/health", health),
    ]
    browsers = Middleware(CORSMiddleware, allow_origins=config.cors, allow_methods=["GET", "POST"], allow_headers=["*"])
    return Starlette(
        routes=routes,
        middleware=[browsers] if config.cors else [],
        exception_handlers={ApiError: _api_error, HTTPException: _http_error, Exception: _unexpected},
    )


def _authenticated(token: str | None, handler: Handler) -> Handler:
    """The handler for clients that send the token, if there is one."""

    async def wrapper(request: Request) -> Response:
        given = request.headers.get("authorization", "").encode("latin-1")
        if token is not None and not hmac.compare_digest(given, f"Bearer {token}".encode()):
            raise ApiError(401, "wrong or missing access token", code="invalid_api_key",
                           headers={"WWW-Authenticate": "Bearer"})  # fmt: skip
        return await handler(request)

    return wrapper


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
