"""The training loop: any phase, any model; resumes where it was cut off, bit for bit."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
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
from mmssr_jax.core.metric_writer import Writer
from mmssr_jax.core.progress import Progress
from mmssr_jax.data.batch import Batch
from mmssr_jax.data.mixture import Mixture, as_mixture
from mmssr_jax.data.pipeline import BatchProvenance
from mmssr_jax.data.subset import SampleSource
from mmssr_jax.models.module_params import Params
from mmssr_jax.parallel import hosts, rules
from mmssr_jax.parallel.mesh import batch_sharding, replicated
from mmssr_jax.training.checkpoint import Checkpoints
from mmssr_jax.training.counters import TrainCounters, new_counters
from mmssr_jax.training.ema import ema_params
from mmssr_jax.training.preemption import PreemptedError, Preemption
from mmssr_jax.training.skip_bad_steps import MAX_CONSECUTIVE_SKIPS, SkipBadStepsConfig
from mmssr_jax.training.step import make_step
from mmssr_jax.training.throughput import Throughput
from mmssr_jax.training.validation import MEAN, ValidationSet


@dataclasses.dataclass(frozen=True)
class LoopConfig:
    """How long, and how often things are written.

    Attributes:
      steps: optimisation steps.
      accumulate: parts a batch is taken in.
      log_every: steps between two rows of metrics.
      checkpoint_every: steps between two checkpoints; the last step is always saved.
      z_loss: see `weighted_loss`.
      guard: what is done about broken steps; the optimizer is guarded too where it is active.
      frozen: which parameters, by dotted name, are not trained.
    """

    steps: int
    accumulate: int = 1
    log_every: int = 20
    checkpoint_every: int = 200
    z_loss: float = 0.0
    guard: SkipBadStepsConfig = SkipBadStepsConfig()
    frozen: Callable[[str], bool] | None = None


Scalars = dict[str, jax.Array]


def train(
    run: Path,
    *,
    graphdef: nnx.GraphDef,
    params: Params,
    tx: optax.GradientTransformation,
    batches: grain.IterDataset,
    config: LoopConfig,
    tokens_per_image: int,
    mesh: Mesh,
    writer: Callable[[int], Writer],
    samples: SampleSource,
    held_out: ValidationSet | None = None,
    flops: Callable[[Batch], float] | None = None,
) -> tuple[Params, TrainCounters]:
    """Trains to `config.steps` and returns the parameters; goes on from the last checkpoint under `run`.

    The host sends step n to the device before it reads the metrics of step n - 1, so the device never waits for it.

    Args:
      run: folder of the checkpoints.
      graphdef, params: the model to start from.
      tx: the optimizer.
      batches: endless stream of (Batch, Origin); its position is part of the checkpoint.
      config: steps and intervals.
      patches: feature rows of one image.
      mesh: the devices; the batch's rows are a multiple of its batch devices.
      writer: makes the metric writer, given the step that the run goes on from.
      samples: what `batches` draws from, for names and shares.
      held_out: what the loss is measured on before the first step and after the last.
      flops: of a training step on a batch, for the metrics.

    Raises:
      UserError: the loss is not a number any more, or `batches` finds no sample to train on.
      PreemptedError: the process was told to end; all is saved.
    """
    layout = rules.shardings(params, mesh), rules.shardings(jax.eval_shape(tx.init, params), mesh)
    steps = _CompiledSteps(graphdef, tx, config, tokens_per_image, layout, mesh)
    own = jax.jit(lambda p: jax.tree.map(jnp.copy, p), out_shardings=layout[0])  # the step eats its arguments
    params = own(params)
    opt_state = jax.jit(tx.init, out_shardings=layout[1])(params)
    mixture = as_mixture(samples)
    with Checkpoints(run) as checkpoints, Preemption() as preemption:
        stream = iter(batches)
        start, tally = checkpoints.latest() or 0, new_counters(mixture)
        if start:
            logging.info("resuming from step %d", start)
            params, opt_state, tally = checkpoints.restore(start, params, opt_state, stream, tally)
        elif held_out is not None:
            tally.held_out["before"] = held_out.losses(graphdef, params, mesh)
        metrics = _Metrics(writer(start), mixture, tally, config)
        if not start and held_out is not None:
            metrics.held_out(0, "before")
        progress = Progress(f"training {run.name}", config.steps, "steps", done=start)
        speed = Throughput()
        for step in range(start + 1, config.steps + 1):
            begin = time.monotonic()
            host_batch, origin = next(stream)
            batch = hosts.to_global(host_batch, mesh)
            waited = time.monotonic() - begin
            compiled = steps.for_batch(params, opt_state, batch)
            params, opt_state, scalars = compiled(params, opt_state, batch)
            note = metrics.flush(speed)
            metrics.pending = (step, scalars, origin)
            tokens = tally.add(mixture, host_batch, origin)
            speed.add(tokens=tokens, input_wait=waited, flops=flops(host_batch) if flops else 0.0)
            progress.add(note=note)
            told = preemption.reached(step)
            if step % config.checkpoint_every == 0 or step == config.steps or told:
                metrics.flush(speed)
                if step == config.steps:
                    params = _finished(params, opt_state)
                    if held_out is not None:
                        tally.held_out["after"] = held_out.losses(graphdef, params, mesh)
                        metrics.held_out(step, "after")
                checkpoints.save(step, params, opt_state, stream, tally)
                if told and step < config.steps:
                    metrics.writer.close()
                    checkpoints.wait()
                    raise PreemptedError(f"training {run.name} was preempted: step {step} is saved")
        metrics.writer.close()
    return params, tally


def _finished(params: Params, opt_state: Any) -> Params:
    """The parameters of the finished run: their running mean, where one is kept."""
    mean = ema_params(opt_state)
    return params if mean is None else jax.tree.map(jnp.copy, mean)  # a copy: the state is saved beside it


class _CompiledSteps:
    """The training step, compiled once for each number of images a batch has room for; nothing else changes."""

    def __init__(
        self,
        graphdef: nnx.GraphDef,
        tx: optax.GradientTransformation,
        config: LoopConfig,
        tokens_per_image: int,
        layout: Any,
        mesh: Mesh,
    ):
        step = make_step(
            graphdef,
            tx,
            tokens_per_image=tokens_per_image,
            accumulate=config.accumulate,
            z_loss=config.z_loss,
            frozen=config.frozen,
        )
        self._jitted = jax.jit(
            step,
            donate_argnums=(0, 1),
            in_shardings=(*layout, batch_sharding(mesh)),
            out_shardings=(*layout, replicated(mesh)),
        )
        self._compiled: dict[tuple[int, ...], Any] = {}

    def for_batch(self, params: Params, opt_state: Any, batch: Batch) -> Any:
        """The step that takes such a batch."""
        shape = batch.pixels.shape
        if shape not in self._compiled:
            begin = time.monotonic()
            self._compiled[shape] = self._jitted.lower(params, opt_state, batch).compile()
            took = time.monotonic() - begin
            logging.info("compiled the training step for %d images a batch in %.1f s", shape[0], took)
        return self._compiled[shape]


@dataclasses.dataclass
class _Metrics:
    """Writes a step's metrics when they are due, and looks at every step for what must not be.

    Attributes:
      pending: the step that is still running: its number, its scalars on the device, its samples.
    """

    writer: Writer
    mixture: Mixture
    tally: TrainCounters
    config: LoopConfig
    pending: tuple[int, Scalars, BatchProvenance] | None = None

    def flush(self, speed: Throughput) -> str:
        """Reads the pending step; returns what the progress line says of it."""
        if self.pending is None:
            return ""
        step, scalars, origin = self.pending
        self.pending = None
        values = {name: float(value) for name, value in scalars.items()}
        in_a_row = int(values.pop("skips_in_a_row", 0))
        if in_a_row or not np.isfinite([values["loss"], values["gradient_norm"]]).all():
            self._broken(step, values, in_a_row, origin)
        if step % self.config.log_every == 0 or step in (1, self.config.steps):
            self.writer.write_scalars(step, {**values, **self._shares(), **speed.read()})
        return f"loss {values['loss']:.3f}"

    def held_out(self, step: int, when: str) -> None:
        """Writes and logs the held-out losses."""
        losses = self.tally.held_out[when]
        self.writer.write_scalars(step, {f"held_out/{name}": value for name, value in losses.items()})
        listed = ", ".join(f"{name} {value:.4f}" for name, value in losses.items() if name != MEAN)
        logging.info("held-out loss %s: %.4f (%s)", when, losses.get(MEAN, float("nan")), listed)

    def _shares(self) -> dict[str, float]:
        found = {"packing": self.tally.packing}
        if len(self.mixture.components) > 1:
            found |= {f"share/{name}": share for name, share in self.tally.shares().items()}
        return found

    def _broken(self, step: int, values: dict[str, float], in_a_row: int, origin: BatchProvenance) -> None:
        """Names the samples of a broken step; raises where the run must not go on."""
        norm = values["gradient_norm"]
        if in_a_row:
            self.tally.skipped.append(step)
        numbers = [int(n) for n in np.unique(origin.drawn)]
        named = ", ".join(str(self.mixture[n].id) for n in numbers[:20]) + (", …" if len(numbers) > 20 else "")
        what = f"the loss is {values['loss']:g} and the gradient's norm {norm:g} at step {step} (its samples: {named})"
        if self.config.guard.action == "stop":
            raise UserError(f"{what}; lower the rate, or set optimizer.guard.action to 'skip'")
        logging.warning("%s; the step is skipped", what)
        if in_a_row >= MAX_CONSECUTIVE_SKIPS:
            raise UserError(f"{in_a_row} steps in a row were skipped; the last: {what}")
