"""One training phase, whatever it trains: settings, and the way from a pool to a finished run."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

from absl import logging

from mmssr_jax.core import artifact as artifact_lib
from mmssr_jax.core.errors import UserError
from mmssr_jax.core.sample import Sample
from mmssr_jax.core.splitting import ViewConfig
from mmssr_jax.core.stage import StageContext
from mmssr_jax.data.batch import BatchShape
from mmssr_jax.data.example import Example
from mmssr_jax.data.pipeline import training_batches
from mmssr_jax.data.splitting import see
from mmssr_jax.models.state import param_count
from mmssr_jax.parallel.mesh import MeshConfig, make_mesh
from mmssr_jax.stages.models import model_digest, model_folder
from mmssr_jax.training.bundle import ModelBundle, describe, load_bundle
from mmssr_jax.training.loop import LoopConfig, train
from mmssr_jax.training.optimizer import OptimizerConfig, make_optimizer


@dataclasses.dataclass(frozen=True)
class PhaseConfig:
    """What one run of training is.

    Attributes:
      steps: optimisation steps.
      init: the model to start from: "base", a run of this workdir, or a folder.
      selection: train on this selection of the pool; None is the whole pool.
      rows, length, images, targets: a batch has `rows` rows of `length` tokens with room for `images` images and
        `targets` trained tokens each; several samples are packed into a row.
      accumulate: parts a batch is taken in.
      seed: of the order of samples.
      optimizer: see OptimizerConfig.
      log_every, checkpoint_every: steps between two metrics, two checkpoints.
      max_pixels: pictures with more pixels are not decoded.
      views: how pictures become views, from this phase on; None leaves it as the model has it.
    """

    steps: int
    init: str = "base"
    selection: str | None = None
    rows: int = 8
    length: int = 384
    images: int = 4
    targets: int = 192
    accumulate: int = 1
    seed: int = 0
    optimizer: OptimizerConfig = OptimizerConfig()
    log_every: int = 20
    checkpoint_every: int = 200
    max_pixels: int = 100_000_000
    views: ViewConfig | None = None

    @property
    def shape(self) -> BatchShape:
        return BatchShape(self.rows, self.length, self.images, self.targets)


Encoder = Callable[[Sample, Any], Example]  # (sample, pixels) -> Example


@dataclasses.dataclass(frozen=True)
class _WithPixels:
    """Reads a sample's pictures and encodes it; picklable, for worker processes."""

    encode: Encoder
    views: ViewConfig
    image_size: int
    max_pixels: int

    def __call__(self, sample: Sample) -> Example:
        return self.encode(*see(sample, self.views, self.image_size, max_pixels=self.max_pixels))


def mesh_config(ctx: StageContext) -> MeshConfig:
    """The config's mesh; by default all devices take part of the batch."""
    return ctx.section("mesh", MeshConfig) if "mesh" in ctx.config else MeshConfig()


def run_phase(
    ctx: StageContext,
    name: str,
    phase: PhaseConfig,
    *,
    stage: str,
    samples: Any,
    inputs: Mapping[str, str],
    make_encoder: Callable[[ModelBundle], Encoder],
    start: Callable[[], ModelBundle] | None = None,
    settings: Any = None,
) -> None:
    """Trains run `name` to its end, or goes on with it, or sees that it is done.

    Args:
      ctx: the run.
      name: of the checkpoints and metrics.
      phase: settings.
      stage: which stage this is, for --overwrite.
      samples: a Pool; all of it is trained on.
      inputs: identities of what `samples` and labels come from.
      make_encoder: how a sample becomes a training sequence, given the model.
      start: makes the model to start from; by default it is loaded from `phase.init`.
      settings: all settings of the run, `phase` by default.

    Raises:
      UserError: there is nothing to train on, or the run was made with other settings.
    """
    if len(samples) == 0:
        what = f"selection {phase.selection!r} is empty" if phase.selection else "the pool is empty"
        raise UserError(f"{stage}: there is nothing to train {name} on: {what}")
    inputs = dict(inputs)
    if start is None:
        folder = model_folder(ctx, phase.init)
        inputs["init"] = model_digest(folder)
    run = ctx.workdir.checkpoints(name)
    if ctx.dry_run:
        logging.info("%s: would train %s on %d samples for %d steps", stage, name, len(samples), phase.steps)
        return
    artifact = ctx.claim(run, stage=stage, settings=settings or phase, inputs=inputs)
    if artifact.done:
        return
    bundle = start() if start is not None else load_bundle(folder)
    if phase.views is not None:
        bundle = dataclasses.replace(bundle, config=dataclasses.replace(bundle.config, views=phase.views))
    describe(run, bundle.config, bundle.tokenizer)
    patches = bundle.config.image_tokens
    encode = _WithPixels(make_encoder(bundle), bundle.config.views, bundle.config.vision.image_size, phase.max_pixels)
    logging.info("training %s: %d parameters, %d samples", name, param_count(bundle.params), len(samples))
    train(
        run,
        graphdef=bundle.graphdef,
        params=bundle.params,
        tx=make_optimizer(phase.optimizer, bundle.params, steps=phase.steps),
        batches=training_batches(samples, encode, phase.shape, patches=patches, seed=phase.seed),
        config=LoopConfig(phase.steps, phase.accumulate, phase.log_every, phase.checkpoint_every),
        patches=patches,
        mesh=make_mesh(mesh_config(ctx)),
        metrics=ctx.workdir.metrics(name),
    )
    artifact.seal({"steps": phase.steps, "samples": len(samples), "parameters": param_count(bundle.params)})


def pool_inputs(ctx: StageContext, selection: str | None) -> dict[str, str]:
    """Identities of the pool and, where one is trained on, of the selection."""
    inputs = {"pool": artifact_lib.input_digest(ctx.workdir.pool)}
    if selection is not None:
        inputs["selection"] = artifact_lib.input_digest(ctx.workdir.selection(selection))
    return inputs
