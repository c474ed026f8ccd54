"""From an engine to a socket: listens, warms up, serves until a signal, and lets requests in flight finish."""

from __future__ import annotations

import contextlib
import io
import signal
import socket
import threading
from collections.abc import Iterator

import uvicorn
from absl import logging
from PIL import Image
from starlette.applications import Starlette

from mmssr_jax.core.errors import UserError
from mmssr_jax.core.sample import IMAGE_TAG, ImageRef, Sample, Turn
from mmssr_jax.serving.chat_requests import Ask
from mmssr_jax.serving.config import ServeConfig
from mmssr_jax.serving.engine import Engine

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


def listen(config: ServeConfig) -> socket.socket:
    """A socket that is bound but not yet served.

    Raises:
      UserError: the address is taken or not this machine's.
    """
    family = socket.AF_INET6 if ":" in config.host else socket.AF_INET
    try:
        return socket.create_server((config.host, config.port), family=family, backlog=config.queue)
    except OSError as e:
        raise UserError(
            f"config.serve: cannot listen on {config.host} port {config.port} ({e.strerror or e})"
        ) from None


def address(bound: socket.socket) -> str:
    """What clients take as `base_url`."""
    host, port = bound.getsockname()[:2]
    return f"http://{f'[{host}]' if ':' in host else host}:{port}/v1"


async def warm_up(engine: Engine) -> None:
    """Answers a text and a picture, so that the first clients need not wait for the compiler."""
    buffer = io.BytesIO()
    Image.new("RGB", (16, 16)).save(buffer, "PNG")
    picture = ImageRef(data=buffer.getvalue())
    for text, images in (("Hello", ()), (f"{IMAGE_TAG}\nHello", (picture,))):
        sample = Sample("warm-up", "warm-up", (Turn("user", text),), images)
        job = await engine.submit(Ask(sample, None, 1, 0.0, 1.0, 0, (), stream=False, include_usage=False))
        event = await job.events.get()
        while event.finish is None and event.error is None:
            event = await job.events.get()


def make_server(app: Starlette, *, shutdown_s: float) -> uvicorn.Server:
    """A server that, when it is to end, lets requests in flight finish for at most `shutdown_s` seconds."""
    settings = uvicorn.Config(
        app, log_config=None, access_log=False, lifespan="off", server_header=False,
        timeout_graceful_shutdown=max(1, round(shutdown_s)),
    )  # fmt: skip
    return uvicorn.Server(settings)


def serve(server: uvicorn.Server, bound: socket.socket) -> None:
    """Serves until SIGTERM or Ctrl-C."""
    with _ends_quietly():
        server.run(sockets=[bound])
    logging.info("the server has stopped")


@contextlib.contextmanager
def _ends_quietly() -> Iterator[None]:
    """uvicorn raises the signal that ended it once more: for a server it is the ordinary end."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, lambda *_: None) for number in _SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
