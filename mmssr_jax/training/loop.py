"""The training loop: any phase, any model; resumes where it was cut off, bit for bit."""

from __future__ import annotations

import dataclasses
import time
from pathlib import Path
from typing import Any

import grain
import jax
import jax.numpy as jnp
import numpy as np
import optax
from absl import logging
from flax import nnx
from jax.sharding import Mesh

from mmssr_jax.core.errors import UserError
from mmssr_jax.core.metric_writer import MetricWriter
from mmssr_jax.core.progress import Progress
from mmssr_jax.models.state import Params
from mmssr_jax.parallel import hosts, rules
from mmssr_jax.parallel.mesh import batch_sharding, replicated
from mmssr_jax.training.checkpoint import Checkpoints
from mmssr_jax.training.step import make_step


@dataclasses.dataclass(frozen=True)
class LoopConfig:
    """How long, and how often things are written.

    Attributes:
      steps: optimisation steps.
      accumulate: parts a batch is taken in.
      log_every: steps between two rows of metrics.
      checkpoint_every: steps between two checkpoints; the last step is always saved.
    """

    steps: int
    accumulate: int = 1
    log_every: int = 20
    checkpoint_every: int = 200


def train(
    run: Path,
    *,
    graphdef: nnx.GraphDef,
    params: Params,
    tx: optax.GradientTransformation,
    batches: grain.IterDataset,
    config: LoopConfig,
    patches: int,
    mesh: Mesh,
    metrics: Path,
) -> Params:
    """Trains to `config.steps` and returns the parameters; goes on from the last checkpoint under `run`.

    The host sends step n to the device before it reads the metrics of step n - 1, so the device never waits for it.

    Args:
      run: folder of the checkpoints.
      graphdef, params: the model to start from.
      tx: the optimizer.
      batches: endless stream of (Batch, sample numbers); its position is part of the checkpoint.
      config: steps and intervals.
      patches: feature rows of one image.
      mesh: the devices; the batch's rows are a multiple of its batch devices.
      metrics: JSONL file for the scalars.

    Raises:
      UserError: the loss is not a number any more, or `batches` finds no sample to train on.
    """
    layout = rules.shardings(params, mesh), rules.shardings(jax.eval_shape(tx.init, params), mesh)
    jitted = jax.jit(
        make_step(graphdef, tx, patches=patches, accumulate=config.accumulate),
        donate_argnums=(0, 1),
        in_shardings=(*layout, batch_sharding(mesh)),
        out_shardings=(*layout, replicated(mesh)),
    )
    own = jax.jit(lambda p: jax.tree.map(jnp.copy, p), out_shardings=layout[0])  # the step eats its arguments
    params = own(params)
    opt_state = jax.jit(tx.init, out_shardings=layout[1])(params)
    with Checkpoints(run) as checkpoints:
        stream = iter(batches)
        start = checkpoints.latest() or 0
        if start:
            logging.info("going on from step %d", start)
            params, opt_state = checkpoints.restore(start, params, opt_state, stream)
        writer = MetricWriter(metrics, resume_step=start)
        progress = Progress(f"training {run.name}", config.steps, "steps", done=start)
        pending: tuple[int, dict[str, jax.Array], np.ndarray] | None = None
        compiled: dict[tuple[int, ...], Any] = {}  # by the shape of the pictures; the rest never changes
        waited = 0.0
        for step in range(start + 1, config.steps + 1):
            begin = time.monotonic()
            host_batch, numbers = next(stream)
            batch = hosts.to_global(host_batch, mesh)
            waited += time.monotonic() - begin
            shape = batch.pixels.shape
            if shape not in compiled:
                begin = time.monotonic()
                compiled[shape] = jitted.lower(params, opt_state, batch).compile()
                took = time.monotonic() - begin
                logging.info("compiled the training step for %d images a batch in %.1f s", shape[0], took)
            params, opt_state, scalars = compiled[shape](params, opt_state, batch)
            note = _report(pending, writer, config, waited) if pending else ""
            pending = (step, scalars, numbers)
            progress.add(note=note)
            if step % config.checkpoint_every == 0 or step == config.steps:
                _report(pending, writer, config, waited)
                pending = None
                checkpoints.save(step, params, opt_state, stream)
        writer.close()
    return params


def _report(
    pending: tuple[int, dict[str, Any], np.ndarray], writer: MetricWriter, config: LoopConfig, waited: float
) -> str:
    """Writes one step's metrics when they are due; stops on a loss that is not finite."""
    step, scalars, numbers = pending
    values = {name: float(value) for name, value in scalars.items()}
    if not np.isfinite(values["loss"]):
        named = ", ".join(str(n) for n in np.unique(numbers[numbers >= 0])[:20])
        raise UserError(
            f"the loss is {values['loss']} at step {step} (pool positions in its batch: {named}); lower the rate"
        )
    if step % config.log_every == 0 or step in (1, config.steps):
        writer.write_scalars(step, {**values, "time/input_wait_s": waited})
    return f"loss {values['loss']:.3f}"
