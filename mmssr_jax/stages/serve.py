"""The serve stage: an endpoint with OpenAI's chat API, for lmms-eval, VLMEvalKit and other clients.

It runs until SIGTERM or Ctrl-C, and then finishes the requests in flight. Requires the extra `serve`. If `config.mesh`
spans the processes of a group, they answer every batch together, and the main one listens.
"""

from __future__ import annotations

import asyncio
import importlib.util
import os
import signal

from absl import logging

from mmssr_jax.core.errors import UserError
from mmssr_jax.core.model_folder import model_folder
from mmssr_jax.core.stage import StageContext
from mmssr_jax.generation.prompting import Prompter
from mmssr_jax.generation.shared_generator import SharedGenerator, follow
from mmssr_jax.generation.stream import StreamGenerator
from mmssr_jax.parallel import hosts
from mmssr_jax.parallel.inference_mesh import inference_mesh, mesh_config
from mmssr_jax.parallel.mesh import check_rows
from mmssr_jax.serving.config import ServeConfig
from mmssr_jax.training.bundle import ModelBundle, load_bundle

STAGE = "serve"


def run(ctx: StageContext) -> None:
    """Loads the model, listens and serves.

    Raises:
      UserError: the extra is not installed, the token or the model is missing, or the address is in use.
    """
    config = ctx.section(STAGE, ServeConfig)
    if any(importlib.util.find_spec(name) is None for name in ("starlette", "uvicorn")):
        raise UserError("the serve stage needs starlette and uvicorn: pip install 'mmssr_jax[serve]'")
    token = read_token(config)
    folder = model_folder(ctx, config.model)
    if ctx.dry_run:
        logging.info("serve: would serve %s as %r on %s port %d", folder, config.served_name, config.host, config.port)
        return
    mesh = inference_mesh(mesh_config(ctx)) if "mesh" in ctx.config else None
    if hosts.count() > 1 and (mesh is None or not mesh.is_multi_process):
        raise UserError(
            "serve runs as one process, unless config.mesh spreads the model over all processes of the group; start "
            "one for each group of devices"
        )
    if mesh is not None:
        check_rows(config.prompts.rows, mesh, field="config.serve.prompts.rows")
    bundle = load_bundle(folder, compute="model", mesh=mesh)
    make = StreamGenerator if hosts.count() == 1 or not hosts.is_main() else SharedGenerator
    generator = make(bundle.graphdef, bundle.params, max_tokens=config.max_tokens, chunk=config.chunk, mesh=mesh)
    if not hosts.is_main():
        _follow(generator)
    elif isinstance(generator, SharedGenerator):
        with generator:
            _serve(config, generator, bundle, token)
    else:
        _serve(config, generator, bundle, token)


def _serve(config: ServeConfig, generator: StreamGenerator, bundle: ModelBundle, token: str | None) -> None:
    from mmssr_jax.serving import server
    from mmssr_jax.serving.app import make_app
    from mmssr_jax.serving.engine import Engine

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


def _follow(generator: StreamGenerator) -> None:
    """The part of a process that does not listen; the signal that ends the server is the main process's to obey."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    follow(generator)


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
