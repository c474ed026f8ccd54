"""The plan of a dry run: what each stage will cost on the devices that `config.plan` names."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from absl import logging

from mmssr_jax.core.artifact import MANIFEST
from mmssr_jax.core.errors import UserError
from mmssr_jax.core.model_folder import model_folder
from mmssr_jax.core.stage import StageContext
from mmssr_jax.core.vocabulary import SLUGS
from mmssr_jax.core.workdir import Workdir
from mmssr_jax.judge.api.prices import cost as token_cost
from mmssr_jax.judge.config import judge_config_class
from mmssr_jax.models.config import VLMConfig
from mmssr_jax.models.presets import preset
from mmssr_jax.parallel.inference_mesh import mesh_config
from mmssr_jax.planning.config import PlanConfig
from mmssr_jax.planning.devices import Devices, parse_devices
from mmssr_jax.planning.estimate import estimates
from mmssr_jax.planning.model_cost import model_cost
from mmssr_jax.planning.trial import read_trial
from mmssr_jax.planning.workload import Workload
from mmssr_jax.pool.pool import open_pool
from mmssr_jax.stages.select.plan import SelectConfig
from mmssr_jax.stages.select.plan import plan as selection_jobs
from mmssr_jax.stages.train.phase_config import PhaseConfig
from mmssr_jax.stages.train.stage import TrainConfig
from mmssr_jax.stages.train_scorer import TrainScorerConfig
from mmssr_jax.training.bundle import read_config


def log_plan(ctx: StageContext, stages: Sequence[str]) -> None:
    """Logs one line for each stage of the run whose work is known.

    Raises:
      UserError: the devices, the trial or the model are not known, or nobody says how many samples there are.
    """
    config = ctx.section("plan", PlanConfig)
    devices = parse_devices(config.devices)
    phases = _phases(ctx)
    scorer = ctx.section("train_scorer", TrainScorerConfig).phase if "train_scorer" in ctx.config else None
    every = [*phases.values(), *([scorer] if scorer is not None else [])]
    length = max((p.batch.length for p in every), default=1024)
    cost = model_cost(_model(ctx, config), length=length)
    samples = config.samples or _ingested(ctx)
    tokens = _TokenCounts(ctx, samples, config.text_tokens + config.views * cost.view_tokens)
    workload = Workload(
        samples=samples,
        judged=_judged(ctx, samples),
        scorer_tokens=tokens.of(scorer) if scorer is not None else 0,
        train_tokens=sum(map(tokens.of, phases.values())),
        phases=len(phases),
        selections=len(selection_jobs(ctx.section("select", SelectConfig))) if "select" in ctx.config else 0,
        capabilities=len(SLUGS),
    )
    measured = read_trial(Workdir(Path(config.trial))) if config.trial is not None else {}
    optimizer = every[0].optimisation.optimizer.kind if every else "adamw"
    logging.info("plan for %s, a model of %s parameters:", devices, f"{cost.parameters:,}")
    usd, shards = _judge_usd(ctx, config, workload.judged), _shards(ctx, devices)
    for estimate in estimates(stages, workload, config, devices, cost, measured, optimizer, shards, usd):
        logging.info("plan: %s", estimate.line())


def _model(ctx: StageContext, config: PlanConfig) -> VLMConfig:
    """The model that is planned for."""
    return preset(config.preset) if config.preset is not None else read_config(model_folder(ctx, "base"))


def _shards(ctx: StageContext, devices: Devices) -> int:
    """The devices that share one copy of the model, by `config.mesh`."""
    mesh = mesh_config(ctx)
    sizes = (mesh.fsdp, mesh.tensor, mesh.expert)
    return devices.count if -1 in sizes else math.prod(sizes)


def _ingested(ctx: StageContext) -> int:
    """The size of the pool.

    Raises:
      UserError: it has not been ingested.
    """
    if not (ctx.workdir.pool / MANIFEST).exists():
        raise UserError("config.plan.samples is not set, and no pool is ingested: give --config.plan.samples=N")
    return len(open_pool(ctx.workdir.pool))


def _phases(ctx: StageContext) -> Mapping[str, PhaseConfig]:
    return ctx.section("train", TrainConfig).phases if "train" in ctx.config else {}


def _judge(ctx: StageContext) -> Any:
    """The judge's config, which has the settings of all backends; None without one."""
    return ctx.section("judge", judge_config_class()) if "judge" in ctx.config else None


def _judged(ctx: StageContext, samples: int) -> int:
    config = _judge(ctx)
    if config is None:
        return 0
    count = config.count if config.count is not None else round((config.share or 0) * samples)
    return round(count * (config.votes + config.repeat_share))


def _judge_usd(ctx: StageContext, config: PlanConfig, ratings: int) -> float | None:
    """The price of all ratings; None if the judge is not an API or its price is not known."""
    judge = _judge(ctx)
    if judge is None or not judge.backend.startswith("openai") or judge.api is None or judge.api.price is None:
        return None
    usage = {
        "prompt_tokens": round(ratings * config.rating_prompt),
        "completion_tokens": round(ratings * config.rating_answer),
    }
    return token_cost(usage, judge.api.price, batch=judge.backend == "openai_batch")


@dataclasses.dataclass(frozen=True)
class _TokenCounts:
    """How long phases are.

    Attributes:
      ctx: the run.
      samples: of the pool.
      mean: tokens of a sample.
    """

    ctx: StageContext
    samples: int
    mean: float

    def of(self, phase: PhaseConfig) -> int:
        """Positions of all rows of a phase, padding included; without padding where its length is not in steps."""
        run, batch = phase.optimisation, phase.batch
        if run.steps is not None:
            return run.steps * batch.rows * batch.length
        return run.tokens if run.tokens is not None else round((run.epochs or 0) * self._selected(phase) * self.mean)

    def _selected(self, phase: PhaseConfig) -> float:
        """The samples that a phase trains on: those of its selection's budget, or the pool."""
        if phase.data.selection is None:
            return self.samples
        jobs = {job.folder: job.budget for job in selection_jobs(self.ctx.section("select", SelectConfig))}
        budget = jobs[phase.data.selection]
        if budget.count is not None:
            return budget.count
        return budget.ratio * self.samples if budget.ratio is not None else (budget.tokens or 0) / self.mean
