"""Runs one training phase, from samples to a finished run."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import grain
from absl import logging

from mmssr_jax.core import files
from mmssr_jax.core.errors import UserError
from mmssr_jax.core.metric_writer import MetricWriter, TensorBoardWriter, WandbWriter, Writer, Writers
from mmssr_jax.core.model_folder import model_digest, model_folder
from mmssr_jax.core.saved import read_saved
from mmssr_jax.core.stage import StageContext
from mmssr_jax.data.batch import Batch, BatchShape
from mmssr_jax.data.mixture import as_mixture
from mmssr_jax.data.pipeline import Encode, training_batches, validation_batches
from mmssr_jax.data.processor import Processor
from mmssr_jax.data.subset import SampleSource
from mmssr_jax.models.module_params import param_count
from mmssr_jax.parallel import hosts, processes
from mmssr_jax.parallel.inference_mesh import mesh_config
from mmssr_jax.parallel.mesh import check_rows, make_mesh
from mmssr_jax.stages.train.initial_model import with_changes
from mmssr_jax.stages.train.phase_config import PhaseConfig
from mmssr_jax.training import run_length
from mmssr_jax.training.bundle import ModelBundle, describe, load_bundle, write_bundle_checksums
from mmssr_jax.training.checkpoint import Checkpoints
from mmssr_jax.training.config import OptimisationConfig
from mmssr_jax.training.counters import TrainCounters, report
from mmssr_jax.training.lora import ADAPTER, adapt, frozen_but_lora, merge_lora
from mmssr_jax.training.trainer import train
from mmssr_jax.training.validation import ValidationSet

COUNTED_STEPS = "steps.json"  # in a run's folder, where its length is given in epochs or tokens
MakeEncoder = Callable[[Processor], Encode]


def check_batch(ctx: StageContext, name: str, phase: PhaseConfig, *, stage: str, where: str) -> None:
    """Checks that the devices can share the batches of run `name`, unless it is finished or a dry run plans other ones.

    A stage checks its phases before any of them claims its folder: a claimed one is refused with corrected rows.

    Args:
      ctx: the run of the program.
      name: of the run.
      phase: settings.
      stage: name of the stage.
      where: the config section of the phase.

    Raises:
      UserError: they cannot.
    """
    finished = (ctx.workdir.checkpoints(name) / files.MANIFEST).exists() and stage not in ctx.overwrite
    if finished or (ctx.dry_run and "plan" in ctx.config):
        return
    try:
        mesh = make_mesh(mesh_config(ctx))
    except UserError:
        if ctx.dry_run:  # on a machine with other devices than the run will have
            return
        raise
    check_rows(phase.batch.rows, mesh, field=f"{where}.rows", accumulate=phase.optimisation.accumulate)


def run_phase(
    ctx: StageContext,
    name: str,
    phase: PhaseConfig,
    *,
    stage: str,
    samples: SampleSource,
    inputs: Mapping[str, str],
    make_encoder: MakeEncoder,
    start: Callable[[], ModelBundle] | None = None,
    settings: Any = None,
    validation: Mapping[str, SampleSource] | None = None,
) -> None:
    """Trains run `name` to its end, or resumes it; does nothing if it is finished.

    Args:
      ctx: the run of the program.
      name: of the checkpoints and metrics.
      phase: settings.
      stage: name of the stage, for --overwrite.
      samples: a pool or a Mixture; all of it is trained on.
      inputs: digests of what `samples` and their labels come from.
      make_encoder: given the model's processor, returns sample -> training example.
      start: makes the initial model; by default it is loaded from `phase.init`.
      settings: all settings of the run, `phase` by default.
      validation: component -> samples that the loss is measured on before and after.

    Raises:
      UserError: there is nothing to train on, or the run was made with other settings.
    """
    if len(samples) == 0:
        selection = phase.data.selection
        what = f"selection {selection!r} is empty" if selection else "the pool is empty"
        raise UserError(f"{stage}: there is nothing to train {name} on: {what}")
    inputs = dict(inputs)
    if start is None:
        folder = model_folder(ctx, phase.init)
        inputs["init"] = model_digest(folder)
    run = ctx.workdir.checkpoints(name)
    if ctx.dry_run:
        logging.info("%s: would train %s on %d samples for %s", stage, name, len(samples), phase.optimisation.length)
        return
    artifact = processes.claim(ctx, run, stage=stage, settings=settings or phase, inputs=inputs)
    if artifact.done:
        return
    model = start() if start is not None else load_bundle(folder, mesh=make_mesh(mesh_config(ctx)))
    model = with_changes(model, phase.model, seed=phase.seed)
    processes.main_process_first(lambda: describe(run, model.config, model.tokenizer))
    logging.info("training %s: %d parameters, %d samples", name, param_count(model.params), len(samples))
    steps, counters = _train(ctx, name, phase, model, samples, make_encoder, validation or {})
    if hosts.is_main():
        result = {"run": name, "steps": steps, **report(counters, as_mixture(samples))}
        files.write_json(ctx.workdir.training_results(name), result)
        write_bundle_checksums(run)
        artifact.seal({"steps": steps, "samples": len(samples), "parameters": param_count(model.params)})
    hosts.wait(f"trained {name}")


def _train(
    ctx: StageContext,
    name: str,
    phase: PhaseConfig,
    model: ModelBundle,
    samples: SampleSource,
    make_encoder: MakeEncoder,
    validation: Mapping[str, SampleSource],
) -> tuple[int, TrainCounters]:
    """Trains, and leaves the final parameters in the run's folder; with LoRA they are merged first.

    Returns:
      The number of steps, and what was trained on.
    """
    mesh, processor = make_mesh(mesh_config(ctx)), model.processor(max_pixels=phase.data.max_pixels)
    config, batch, lora = phase.optimisation, phase.batch, phase.model.lora
    run = ctx.workdir.checkpoints(name)
    folder = run
    if lora is not None:
        folder, model = run / ADAPTER, adapt(model, lora, seed=phase.seed)
        config = dataclasses.replace(config, optimizer=frozen_but_lora(config.optimizer))
    encode = make_encoder(processor)
    weighted = model.config.views.mode == "anyres" or model.config.views.frames == "pooled"
    shape = BatchShape(batch.rows, batch.length, batch.images, batch.targets, weighted=weighted)
    components = {
        component: partial(_validation_batches, subset, encode, shape, processor)
        for component, subset in validation.items()
    }
    draws = run_length.draws(config, len(samples))
    part = (hosts.index(), hosts.count())
    batches = training_batches(
        samples, encode, shape, processor, seed=phase.seed, part=part, draws=draws,
        global_packing=bool(batch.global_packing),
    )  # fmt: skip
    steps = _steps(run, config, batches, draws)
    params, counters = train(
        folder,
        model,
        dataclasses.replace(config, steps=steps, epochs=None, tokens=None),
        batches=batches,
        samples=samples,
        mesh=mesh,
        writer=partial(_writer, ctx, name, phase),
        validation=ValidationSet(components) if components else None,
    )
    if lora is not None:
        with Checkpoints(run) as checkpoints:
            checkpoints.save_params(steps, merge_lora(params, lora))
    return steps, counters.total()


def _steps(run: Path, config: OptimisationConfig, batches: grain.IterDataset, draws: int | None) -> int:
    """The steps of a run; what was counted is kept in its folder, so that a resumed run does not count again."""
    if config.steps is not None:
        return config.steps
    path = run / COUNTED_STEPS
    if not path.exists():
        steps = run_length.count_steps(config, batches, name=run.name, draws=draws)
        if hosts.is_main():
            files.write_json(path, {"steps": steps})
        hosts.wait(f"counted {run.name}")
        logging.info("training %s: %s are %d steps", run.name, config.length, steps)
    return int(read_saved(path, {"steps": int}, stage="train")["steps"])


def _validation_batches(
    samples: SampleSource, encode: Encode, shape: BatchShape, processor: Processor
) -> Iterator[Batch]:
    return (batch for batch, _ in validation_batches(samples, encode, shape, processor))


def _writer(ctx: StageContext, name: str, phase: PhaseConfig, start: int) -> Writers:
    """The metric writers; only the main process has any."""
    if not hosts.is_main():
        return Writers()
    path = ctx.workdir.metrics(name)
    writers: list[Writer] = [MetricWriter(path, resume_step=start)]
    if phase.tensorboard:
        writers.append(TensorBoardWriter(path.parent / "tensorboard" / name, resume_step=start))
    if phase.wandb is not None:
        writers.append(WandbWriter(phase.wandb, name, path.parent / "wandb"))
    return Writers(*writers)
