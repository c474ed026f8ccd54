"""One training phase, whatever it trains: settings, and the way from a pool to a finished run."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Literal

from absl import logging

from mmssr_jax.core import artifact as artifact_lib
from mmssr_jax.core import files
from mmssr_jax.core.errors import UserError
from mmssr_jax.core.metric_writer import MetricWriter, TensorBoardWriter, WandbWriter, Writer, Writers
from mmssr_jax.core.model_folder import model_digest, model_folder
from mmssr_jax.core.sample import Sample
from mmssr_jax.core.stage import StageContext
from mmssr_jax.data.batch import Batch, BatchShape
from mmssr_jax.data.chat import Labels
from mmssr_jax.data.example import Example
from mmssr_jax.data.mixture import as_mixture
from mmssr_jax.data.pipeline import training_batches, validation_batches
from mmssr_jax.images.preprocess import preprocess
from mmssr_jax.images.views import ViewConfig
from mmssr_jax.models.config import MoEConfig, Remat
from mmssr_jax.models.module_params import param_count
from mmssr_jax.models.moe.moe import upcycle
from mmssr_jax.models.vit import resize_positions
from mmssr_jax.parallel import hosts, processes
from mmssr_jax.parallel.inference_mesh import mesh_config
from mmssr_jax.parallel.mesh import batch_devices, make_mesh
from mmssr_jax.stages.train.mixtures import ComponentConfig, HoldOutConfig, TrainingData, training_data
from mmssr_jax.training.bundle import ModelBundle, describe, load_bundle, with_config
from mmssr_jax.training.checkpoint import Checkpoints
from mmssr_jax.training.counters import TrainCounters, report
from mmssr_jax.training.flops import step_flops
from mmssr_jax.training.lora import ADAPTER, LoraConfig, adapt, frozen_but_lora, merge_lora
from mmssr_jax.training.optimizer import OptimizerConfig, make_optimizer
from mmssr_jax.training.trainer import LoopConfig, train
from mmssr_jax.training.validation import ValidationSet


@dataclasses.dataclass(frozen=True)
class PhaseConfig:
    """What one run of training is.

    Attributes:
      steps: optimisation steps.
      init: the model to start from: "base", a run of this workdir, or a folder.
      selection: train on this selection of the pool; None is the whole pool.
      mixture: train on these members by name instead; see MemberConfig.
      groups: group of members -> its share of the draws (MM1.5: single 0.8, multi 0.1, text 0.1); see MemberConfig.
      holdout: what is kept from training, to measure the loss on it before and after.
      rows, length, images, targets: a batch has `rows` rows of `length` tokens with room for `images` images and
        `targets` trained tokens each; several samples are packed into a row.
      max_tokens: of one sample, `length` by default.
      overlong: what is longer is cut off at its end ("cut"; pictures never are), or not trained on ("drop").
      labels: what of a conversation is trained, see `data.chat.Labels`.
      accumulate: parts a batch is taken in.
      seed: of the order of samples.
      optimizer: see OptimizerConfig.
      log_every, checkpoint_every: steps between two metrics, two checkpoints.
      max_pixels: pictures with more pixels are not decoded.
      views: how pictures become views, from this phase on; None leaves it as the model has it.
      image_size: side of a view in pixels from this phase on (MM1.5: 378, then 672), the tower's positions
        interpolated; None leaves it as the model has it.
      dtype, remat: how it is computed, from this phase on; None leaves it as the model has it.
      moe: give a dense decoder experts from this phase on, each a copy of the layer's MLP (sparse upcycling).
      lora: train low-rank additions to some projections instead of all parameters.
      tensorboard: also write metrics to `metrics/tensorboard/<run>/`.
      wandb: also log to this project of Weights & Biases.
    """

    steps: int
    init: str = "base"
    selection: str | None = None
    mixture: Mapping[str, ComponentConfig] = dataclasses.field(default_factory=dict)
    groups: Mapping[str, float] = dataclasses.field(default_factory=dict)
    holdout: HoldOutConfig = HoldOutConfig()
    rows: int = 8
    length: int = 384
    images: int = 4
    targets: int = 192
    max_tokens: int | None = None
    overlong: Literal["cut", "drop"] = "cut"
    labels: Labels = "answers"
    accumulate: int = 1
    seed: int = 0
    optimizer: OptimizerConfig = OptimizerConfig()
    log_every: int = 20
    checkpoint_every: int = 200
    max_pixels: int = 100_000_000
    views: ViewConfig | None = None
    image_size: int | None = None
    dtype: Literal["float32", "bfloat16"] | None = None
    remat: Remat | None = None
    moe: MoEConfig | None = None
    lora: LoraConfig | None = None
    tensorboard: bool = False
    wandb: str | None = None

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
        return self.encode(*preprocess(sample, self.views, self.image_size, max_pixels=self.max_pixels))


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
    held_out: Mapping[str, Any] | None = None,
) -> None:
    """Trains run `name` to its end, or goes on with it, or sees that it is done.

    Args:
      ctx: the run.
      name: of the checkpoints and metrics.
      phase: settings.
      stage: which stage this is, for --overwrite.
      samples: a Pool or a Mixture; all of it is trained on.
      inputs: identities of what `samples` and labels come from.
      make_encoder: how a sample becomes a training sequence, given the model.
      start: makes the model to start from; by default it is loaded from `phase.init`.
      settings: all settings of the run, `phase` by default.
      held_out: member -> samples that the loss is measured on before and after.

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
    artifact = processes.claim(ctx, run, stage=stage, settings=settings or phase, inputs=inputs)
    if artifact.done:
        return
    bundle = _prepared(start() if start is not None else load_bundle(folder, mesh=make_mesh(mesh_config(ctx))), phase)
    processes.main_process_first(lambda: describe(run, bundle.config, bundle.tokenizer))
    logging.info("training %s: %d parameters, %d samples", name, param_count(bundle.params), len(samples))
    tally = _train(ctx, name, phase, bundle, samples, make_encoder(bundle), held_out or {})
    if hosts.is_main():
        files.write_json(
            results_path(ctx, name), {"run": name, "steps": phase.steps, **report(tally, as_mixture(samples))}
        )
        artifact.seal({"steps": phase.steps, "samples": len(samples), "parameters": param_count(bundle.params)})
    hosts.wait(f"trained {name}")


def results_path(ctx: StageContext, name: str) -> Path:
    """Where a run says what it was trained on: shares as realised, tokens, cuts, held-out losses."""
    return ctx.workdir.training_results(name)


def _prepared(bundle: ModelBundle, phase: PhaseConfig) -> ModelBundle:
    """The model as the phase has it seen and computed; its parameters stay, but for copies of MLPs as experts and for
    positions of another resolution.

    Raises:
      UserError: it cannot be seen or computed so.
    """
    if phase.moe is not None:
        bundle = _upcycled(bundle, phase.moe, seed=phase.seed)
    if phase.image_size is not None:
        bundle = _resized(bundle, phase.image_size)
    changes: dict[str, Any] = {"views": phase.views, "dtype": phase.dtype, "remat": phase.remat}
    changes = {field: value for field, value in changes.items() if value is not None}
    if not changes:
        return bundle
    try:
        return with_config(bundle, dataclasses.replace(bundle.config, **changes))
    except ValueError as e:
        raise UserError(f"phase.views: {e}") from None


def _resized(bundle: ModelBundle, size: int) -> ModelBundle:
    """The model that takes views of `size` x `size` pixels.

    Raises:
      UserError: that is no whole number of patches.
    """
    old = bundle.config.vision
    if size < old.patch_size or size % old.patch_size:
        raise UserError(f"phase.image_size: {size} pixels are no whole number of patches of {old.patch_size}")
    vision = dataclasses.replace(old, image_size=size)
    position = resize_positions(bundle.params["vision"]["position"], side=vision.grid, class_token=vision.class_token)
    params = {**bundle.params, "vision": {**bundle.params["vision"], "position": position}}
    return with_config(dataclasses.replace(bundle, params=params), dataclasses.replace(bundle.config, vision=vision))


def _upcycled(bundle: ModelBundle, moe: MoEConfig, *, seed: int) -> ModelBundle:
    """The model with experts.

    Raises:
      UserError: it has some, or its depth does not fit.
    """
    if bundle.config.decoder.moe is not None:
        raise UserError("phase.moe is set, but the model to start from has experts already")
    try:
        decoder = dataclasses.replace(bundle.config.decoder, moe=moe)
    except ValueError as e:
        raise UserError(f"phase.moe: {e}") from None
    params = {**bundle.params, "decoder": upcycle(bundle.params["decoder"], decoder, seed=seed)}
    grown = dataclasses.replace(bundle, params=params)
    return with_config(grown, dataclasses.replace(bundle.config, decoder=decoder))


def _train(
    ctx: StageContext,
    name: str,
    phase: PhaseConfig,
    bundle: ModelBundle,
    samples: Any,
    encoder: Encoder,
    held_out: Mapping[str, Any],
) -> TrainCounters:
    """Runs the loop; the finished parameters lie under the run's folder afterwards."""
    mesh, tokens_per_image = make_mesh(mesh_config(ctx)), bundle.config.image_tokens
    if phase.rows % (batch_devices(mesh) * phase.accumulate):
        raise UserError(
            f"run {name}: rows {phase.rows} must be a multiple of {batch_devices(mesh)} devices that share the batch "
            f"times accumulate {phase.accumulate}"
        )
    encode = _WithPixels(encoder, bundle.config.view_config, bundle.config.vision.image_size, phase.max_pixels)
    run = ctx.workdir.checkpoints(name)
    adapted = None if phase.lora is None else adapt(bundle, phase.lora, seed=phase.seed)
    graphdef, params = (bundle.graphdef, bundle.params) if adapted is None else (adapted.graphdef, adapted.params)
    optimizer = phase.optimizer if adapted is None else frozen_but_lora(phase.optimizer)
    shape = dataclasses.replace(phase.shape, blended=bundle.config.views.mode == "anyres")
    measured = {
        member: partial(_only_batches, rows, encode, shape, tokens_per_image) for member, rows in held_out.items()
    }
    trained, tally = train(
        run if adapted is None else run / ADAPTER,
        graphdef=graphdef,
        params=params,
        tx=make_optimizer(optimizer, params, steps=phase.steps),
        batches=training_batches(
            samples,
            encode,
            shape,
            tokens_per_image=tokens_per_image,
            seed=phase.seed,
            part=(hosts.index(), hosts.count()),
        ),
        config=LoopConfig(
            phase.steps,
            phase.accumulate,
            phase.log_every,
            phase.checkpoint_every,
            z_loss=optimizer.z_loss,
            guard=optimizer.guard,
            frozen=optimizer.frozen if optimizer.freeze else None,
        ),
        tokens_per_image=tokens_per_image,
        mesh=mesh,
        writer=partial(_writer, ctx, name, phase),
        samples=samples,
        held_out=ValidationSet(measured) if measured else None,
        flops=step_flops(bundle.config, bundle.params),
    )
    if phase.lora is not None:
        with Checkpoints(run) as checkpoints:
            checkpoints.save_params(phase.steps, merge_lora(trained, phase.lora))
    return tally.total()


def _only_batches(
    samples: Any, encode: Callable[[Sample], Example], shape: BatchShape, tokens_per_image: int
) -> Iterator[Batch]:
    return (batch for batch, _ in validation_batches(samples, encode, shape, tokens_per_image=tokens_per_image))


def _writer(ctx: StageContext, name: str, phase: PhaseConfig, start: int) -> Writers:
    """The metrics' writers; only the first process has any."""
    if not hosts.is_main():
        return Writers()
    path = ctx.workdir.metrics(name)
    writers: list[Writer] = [MetricWriter(path, resume_step=start)]
    if phase.tensorboard:
        writers.append(TensorBoardWriter(path.parent / "tensorboard" / name, resume_step=start))
    if phase.wandb is not None:
        writers.append(WandbWriter(phase.wandb, name, path.parent / "wandb"))
    return Writers(*writers)


def pool_inputs(ctx: StageContext, selection: str | None) -> dict[str, str]:
    """Identities of the pool and, where one is trained on, of the selection."""
    inputs = {"pool": artifact_lib.input_digest(ctx.workdir.pool)}
    if selection is not None:
        inputs["selection"] = artifact_lib.input_digest(ctx.workdir.selection(selection))
    return inputs


def phase_data(ctx: StageContext, phase: PhaseConfig) -> TrainingData:
    """What a phase of conversations and documents is trained on."""
    return training_data(
        ctx, mixture=phase.mixture, groups=phase.groups, selection=phase.selection, holdout=phase.holdout
    )
