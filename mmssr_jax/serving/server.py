"""The HTTP server: listens, warms up, serves until a signal, and lets requests in flight finish."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import io
import signal
import socket
import threading
from collections.abc import Iterator
from typing import Any, cast

import uvicorn
from absl import logging
from PIL import Image
from starlette.applications import Starlette

from mmssr_jax.core.errors import UserError
from mmssr_jax.core.sample import IMAGE_TAG, ImageRef, Sample, Turn
from mmssr_jax.data.batch import BatchShape
from mmssr_jax.serving.api_error import ApiError
from mmssr_jax.serving.chat_requests import GenerationRequest
from mmssr_jax.serving.config import ServeConfig
from mmssr_jax.serving.connection import TimedProtocol
from mmssr_jax.serving.engine import Engine

_IMAGE_SIZES = ((480, 480), (640, 480), (480, 640))  # which models that tile images by their shape see differently
_WARM_UP = GenerationRequest(Sample("", "", ()), None, 1, 0.0, 1.0, 0, (), stream=False, include_usage=False)
_SIGNALS = (signal.SIGINT, signal.SIGTERM)


def listen(config: ServeConfig) -> socket.socket:
    """A bound socket that is not served yet.

    Raises:
      UserError: the address is in use or does not belong to this machine.
    """
    family = socket.AF_INET6 if ":" in config.host else socket.AF_INET
    try:
        return socket.create_server((config.host, config.port), family=family, backlog=config.queue)
    except OSError as e:
        raise UserError(f"serve: cannot listen on {config.host} port {config.port} ({e.strerror or e})") from None


def address(bound: socket.socket) -> str:
    """The `base_url` for clients."""
    host, port = bound.getsockname()[:2]
    return f"http://{f'[{host}]' if ':' in host else host}:{port}/v1"


async def warm_up(engine: Engine, config: ServeConfig) -> None:
    """Answers prompts of the common shapes, so that no client waits for compilation; see `ServeConfig.warm_up`."""
    done: set[BatchShape] = set()
    for images in config.warm_up_images:
        for size in _IMAGE_SIZES if images else _IMAGE_SIZES[:1]:
            for length in range(config.warm_up_lengths):
                sample = _warm_up_sample(images, size, words=1 + length * config.prompts.length_step)
                try:
                    jobs = await engine.submit(dataclasses.replace(_WARM_UP, sample=sample), unless=done)
                except ApiError as e:
                    logging.info("no warm-up for %d images of %d x %d: %s", images, *size, e)
                    continue
                for job in jobs:
                    done.add(engine.shape(job))
                    delta = await job.deltas.get()
                    while delta.finish_reason is None and delta.error is None:
                        delta = await job.deltas.get()
    logging.info("compiled for %d shapes of prompts", len(done))


def _warm_up_sample(images: int, size: tuple[int, int], *, words: int) -> Sample:
    """A prompt with some images and about as many tokens as words."""
    buffer = io.BytesIO()
    Image.new("RGB", size).save(buffer, "PNG")
    text = f"{IMAGE_TAG}\n" * images + " ".join(["a"] * words)
    return Sample("warm-up", "warm-up", (Turn("user", text),), (ImageRef(data=buffer.getvalue()),) * images)


def make_server(app: Starlette, config: ServeConfig) -> uvicorn.Server:
    """A server with the timeouts of `config`; requests in flight may finish when it shuts down."""
    protocol = functools.partial(
        TimedProtocol, header_timeout_s=config.header_timeout_s, send_timeout_s=config.send_timeout_s
    )
    settings = uvicorn.Config(
        app, http=cast(Any, protocol), ws="none", lifespan="off", log_config=None, access_log=False,
        server_header=False, timeout_graceful_shutdown=max(1, round(config.shutdown_s)),
    )  # fmt: skip
    return uvicorn.Server(settings)


def serve(server: uvicorn.Server, bound: socket.socket) -> None:
    """Serves until SIGTERM or Ctrl-C."""
    with _ignore_reraised_signals():
        server.run(sockets=[bound])
    logging.info("the server has stopped")


@contextlib.contextmanager
def _ignore_reraised_signals() -> Iterator[None]:
    """uvicorn raises the signal that ended it again, but a signal is the normal end of a server."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, lambda *_: None) for number in _SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
