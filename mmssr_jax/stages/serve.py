"""The serve stage: an endpoint with OpenAI's chat API, for lmms-eval, VLMEvalKit and other clients.

It runs until SIGTERM or Ctrl-C, and then finishes the requests in flight. Requires the extra `serve`.
"""

from __future__ import annotations

import asyncio
import importlib.util
import os

from absl import logging

from mmssr_jax.core.errors import UserError
from mmssr_jax.core.model_folder import model_folder
from mmssr_jax.core.stage import StageContext
from mmssr_jax.generation.prompting import Prompter
from mmssr_jax.generation.stream import StreamGenerator
from mmssr_jax.parallel import hosts
from mmssr_jax.serving.config import ServeConfig
from mmssr_jax.training.bundle import load_bundle

STAGE = "serve"


def run(ctx: StageContext) -> None:
    """Loads the model, listens and serves.

    Raises:
      UserError: the extra is not installed, the token or the model is missing, or the address is in use.
    """
    config = ctx.section(STAGE, ServeConfig)
    if any(importlib.util.find_spec(name) is None for name in ("starlette", "uvicorn")):
        raise UserError("the serve stage needs starlette and uvicorn: pip install 'mmssr_jax[serve]'")
    if hosts.count() > 1:
        raise UserError("serve runs as one process; start one for each group of devices")
    token = read_token(config)
    folder = model_folder(ctx, config.model)
    if ctx.dry_run:
        logging.info("serve: would serve %s as %r on %s port %d", folder, config.served_name, config.host, config.port)
        return
    from mmssr_jax.serving import server
    from mmssr_jax.serving.app import make_app
    from mmssr_jax.serving.engine import Engine

    bundle = load_bundle(folder, compute="model")
    generator = StreamGenerator(bundle.graphdef, bundle.params, max_tokens=config.max_tokens, chunk=config.chunk)
    prompter = Prompter(bundle.processor(), config.prompts)
    with (
        server.listen(config) as bound,
        Engine(generator, prompter, wait_s=config.wait_ms / 1000, queue=config.queue) as engine,
    ):
        if config.warm_up:
            asyncio.run(server.warm_up(engine, config))
        logging.info("serving %r at %s", config.served_name, server.address(bound))
        app = make_app(engine, config, token=token)
        server.serve(server.make_server(app, config), bound)


def read_token(config: ServeConfig) -> str | None:
    """The access token from the environment; None if the config names none.

    Raises:
      UserError: the variable is empty.
    """
    if config.token_env is None:
        return None
    token = os.environ.get(config.token_env, "").strip()
    if not token:
        raise UserError(f"serve: the environment variable {config.token_env} is not set; it must hold the access token")
    return token
