"""The training loop for any phase and any model; an interrupted run resumes bit for bit."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grain
import jax
import jax.numpy as jnp
import optax
from absl import logging
from jax.sharding import Mesh

from mmssr_jax.core.metric_writer import Writer
from mmssr_jax.core.progress import Progress
from mmssr_jax.data.batch import Batch
from mmssr_jax.data.mixture import as_mixture
from mmssr_jax.data.subset import SampleSource
from mmssr_jax.images.image_blocks import count
from mmssr_jax.models.module_params import Params
from mmssr_jax.parallel import hosts, rules
from mmssr_jax.parallel.mesh import batch_sharding, replicated
from mmssr_jax.training.bundle import ModelBundle
from mmssr_jax.training.checkpoint import Checkpoints
from mmssr_jax.training.config import OptimisationConfig
from mmssr_jax.training.counters import TrainCounters, new_counters
from mmssr_jax.training.ema import ema_params
from mmssr_jax.training.flops import step_flops
from mmssr_jax.training.metric_log import MetricLog
from mmssr_jax.training.optimizer import make_optimizer
from mmssr_jax.training.preemption import PreemptedError, Preemption
from mmssr_jax.training.state import TrainState, combine, init_opt_state, partition
from mmssr_jax.training.step import make_step
from mmssr_jax.training.validation import ValidationSet


def train(
    run: Path,
    model: ModelBundle,
    config: OptimisationConfig,
    *,
    batches: grain.IterDataset,
    samples: SampleSource,
    mesh: Mesh,
    writer: Callable[[int], Writer],
    validation: ValidationSet | None = None,
) -> tuple[Params, TrainCounters]:
    """Trains for `config.steps` steps; resumes from the latest checkpoint under `run`.

    Args:
      run: folder of the checkpoints.
      model: with the initial parameters.
      config: optimizer, number of steps (a length in epochs or tokens has been replaced), intervals.
      batches: endless stream of (Batch, BatchProvenance) from `samples`; its position is part of the checkpoint.
      samples: names and shares for the counters.
      mesh: the devices; the batch's rows are a multiple of its batch devices.
      writer: makes the metric writer, given the step that the run resumes from.
      validation: measured before the first step and after the last.

    Returns:
      The parameters, as in `model` (their moving average if the optimizer keeps one), and the counters.

    Raises:
      UserError: the loss is not finite, `batches` finds no usable sample, or the checkpoint cannot be resumed.
      PreemptedError: the process received SIGTERM; a checkpoint is saved.
    """
    step_fn = _CompiledStep(model, config, mesh)
    validate = None if validation is None else validation.evaluator(model, mesh)
    state = TrainState(*step_fn.init(model.params), new_counters(as_mixture(samples)))
    with Checkpoints(run, keep=None if config.keep_all else 1) as checkpoints, Preemption() as preemption:
        stream = iter(batches)
        state, start = _resume(checkpoints, state, stream)
        log = MetricLog(
            writer(start), as_mixture(samples), state.counters, config, flops=step_flops(model.config, model.params)
        )
        if not start and validate is not None:
            log.validation(0, "before", validate(state.params))
        steps = config.total_steps
        progress = Progress(f"training {run.name}", steps, "steps", done=start)
        for step in range(start + 1, steps + 1):
            progress.add(note=_run_step(step, step_fn, state, stream, log))
            preempted = preemption.reached(step) and step < steps
            if step == steps:
                log.flush()
                state.params = _final_params(state, config)
                if validate is not None:
                    log.validation(step, "after", validate(state.params))
            if preempted or step == steps or step % config.checkpoint_every == 0:
                log.flush()
                checkpoints.save(step, state, stream)
            if preempted:
                checkpoints.wait()
                log.close()
                raise PreemptedError(f"training {run.name} was preempted: step {step} is saved")
        log.close()
    return state.params, state.counters


def _resume(checkpoints: Checkpoints, state: TrainState, stream: grain.DatasetIterator) -> tuple[TrainState, int]:
    """The state and step of the latest checkpoint, with `stream` at its position; as given, and 0, without one."""
    step = checkpoints.latest() or 0
    if not step:
        return state, 0
    logging.info("resuming from step %d", step)
    return checkpoints.restore(step, state, stream), step


def _run_step(
    step: int, step_fn: _CompiledStep, state: TrainState, stream: grain.DatasetIterator, log: MetricLog
) -> str:
    """Dispatches a step, then waits for the metrics of the one before, so that the device never waits for the host.

    Returns:
      A note on the previous step for the progress line.
    """
    begin = time.monotonic()
    host_batch, provenance = next(stream)
    batch = hosts.to_global(host_batch, step_fn.mesh)
    input_wait = time.monotonic() - begin
    state.params, state.opt_state, scalars = step_fn(state, batch)
    return log.record(step, scalars, host_batch, provenance, input_wait=input_wait)


def _final_params(state: TrainState, config: OptimisationConfig) -> Params:
    """The parameters of the finished run: the moving average of the trained ones, if the optimizer keeps one."""
    mean = ema_params(state.opt_state)
    if mean is None:
        return state.params
    fixed = partition(state.params, config.optimizer.frozen)[1]
    return combine(jax.tree.map(jnp.copy, mean), fixed)  # a copy, because the optimizer state is saved beside it


class _CompiledStep:
    """The training step on a mesh, compiled once for each number of images in a batch; other shapes are constant."""

    def __init__(self, model: ModelBundle, config: OptimisationConfig, mesh: Mesh):
        optimizer, self.mesh = config.optimizer, mesh
        tx = make_optimizer(optimizer, model.params, steps=config.total_steps)

        def init(params: Params) -> tuple[Params, optax.OptState]:
            return jax.tree.map(jnp.copy, params), init_opt_state(tx, params, optimizer.frozen)

        step = make_step(
            model.graphdef, tx, accumulate=config.accumulate, z_loss=optimizer.z_loss, frozen=optimizer.frozen
        )
        layout = rules.shardings(jax.eval_shape(init, model.params), mesh)
        self._init = jax.jit(init, out_shardings=layout)
        self._step = jax.jit(
            step,
            donate_argnums=(0, 1),
            in_shardings=(*layout, batch_sharding(mesh)),
            out_shardings=(*layout, replicated(mesh)),
        )
        self._compiled: dict[tuple[int, ...], Any] = {}

    def init(self, params: Params) -> tuple[Params, optax.OptState]:
        """Parameters and optimizer state on the mesh; the parameters are copied, because the step donates them."""
        return self._init(params)

    def lower(self, params: Params, opt_state: optax.OptState, batch: Batch, *, platform: str | None = None) -> Any:
        """The step as a program that is not compiled yet, of another platform if one is given."""
        platforms = None if platform is None else (platform,)
        with jax.set_mesh(self.mesh):  # constraints on activations, splash attention and experts ask for it
            return self._step.trace(params, opt_state, batch).lower(lowering_platforms=platforms)

    def __call__(self, state: TrainState, batch: Batch) -> tuple[Params, optax.OptState, dict[str, jax.Array]]:
        """Dispatches one step; the arrays of `state` are donated."""
        shape = (count(batch.pixels),)
        if shape not in self._compiled:
            begin = time.monotonic()
            self._compiled[shape] = self.lower(state.params, state.opt_state, batch).compile()
            seconds = time.monotonic() - begin
            logging.info("compiled the training step for %d images per batch in %.1f s", shape[0], seconds)
        return self._compiled[shape](state.params, state.opt_state, batch)
