"""The endpoint with the small model of tests/small.py, behind a real socket."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator

import openai
import pytest

from mmssr_jax.generation.prompting import PromptConfig, Prompter
from mmssr_jax.generation.stream import StreamGenerator
from mmssr_jax.serving import server
from mmssr_jax.serving.app import make_app
from mmssr_jax.serving.config import ServeConfig
from mmssr_jax.serving.engine import Engine
from tests import small

TOKEN = "secret-of-the-test"
CONFIG = ServeConfig(
    name="small", port=0, token_env="TOKEN", max_tokens=16, chunk=4, queue=4, max_body_mib=1, max_images=3,
    shutdown_s=10, prompts=PromptConfig(rows=4, length_step=64, max_length=128, images=(0, 3), max_pixels=10_000),
)  # fmt: skip


@pytest.fixture(scope="session")
def prompter() -> Prompter:
    return Prompter(small.processor(), CONFIG.prompts)


@pytest.fixture(scope="session")
def generator() -> StreamGenerator:
    bundle = small.bundle()
    return StreamGenerator(bundle.graphdef, bundle.params, max_tokens=CONFIG.max_tokens, chunk=CONFIG.chunk)


@contextlib.contextmanager
def running(generator, prompter, config=CONFIG, *, token=TOKEN, wait_s=0.05) -> Iterator[str]:
    """Serves in a thread; yields the address."""
    with (
        server.listen(config) as bound,
        Engine(generator, prompter, wait_s=wait_s, queue=config.queue) as engine,
    ):
        uvicorn_server = server.make_server(make_app(engine, config, token=token), config)
        thread = threading.Thread(target=server.serve, args=(uvicorn_server, bound))
        thread.start()
        try:
            while not uvicorn_server.started:
                time.sleep(0.01)
            yield server.address(bound)
        finally:
            uvicorn_server.should_exit = True
            thread.join()


@pytest.fixture(scope="session")
def url(generator, prompter) -> Iterator[str]:
    with running(generator, prompter) as address:
        yield address


@pytest.fixture(scope="session")
def client(url) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(api_key=TOKEN, base_url=url, max_retries=0, timeout=600) as made:
        yield made
