"""The training loop for any phase and any model; an interrupted run resumes bit for bit."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import grain
import jax
import jax.numpy as jnp
from absl import logging
from jax.sharding import Mesh

from mmssr_jax.core.metric_writer import Writer
from mmssr_jax.core.progress import Progress
from mmssr_jax.data.mixture import as_mixture
from mmssr_jax.data.subset import SampleSource
from mmssr_jax.models.module_params import Params
from mmssr_jax.parallel import hosts
from mmssr_jax.training.bundle import ModelBundle
from mmssr_jax.training.checkpoint import Checkpoints
from mmssr_jax.training.compiled_step import CompiledStep
from mmssr_jax.training.config import OptimisationConfig
from mmssr_jax.training.counters import TrainCounters, new_counters
from mmssr_jax.training.ema import ema_params
from mmssr_jax.training.flops import step_flops
from mmssr_jax.training.metric_log import MetricLog
from mmssr_jax.training.preemption import PreemptedError, Preemption
from mmssr_jax.training.state import TrainState, combine, partition
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
    step_fn = CompiledStep(model.graphdef, model.params, config, mesh)
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
    step: int, step_fn: CompiledStep, state: TrainState, stream: grain.DatasetIterator, log: MetricLog
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
