"""The part of stage `score` that writes `features/<kind>/part-*.parquet`, for selection methods that use features."""

from __future__ import annotations

import functools
import time

from jax.sharding import Mesh

from mmssr_jax.core.artifact import MANIFEST, input_digest
from mmssr_jax.core.metric_writer import append_scalars
from mmssr_jax.core.model_folder import model_folder
from mmssr_jax.core.shards import ShardedJob
from mmssr_jax.core.stage import StageContext
from mmssr_jax.parallel.processes import Group
from mmssr_jax.pool.pool import Pool
from mmssr_jax.scoring.feature_kind import FeatureConfig, Models
from mmssr_jax.scoring.feature_run import write_features
from mmssr_jax.scoring.score_pool import is_done
from mmssr_jax.scoring.scorer import Buckets
from mmssr_jax.stages.train.mixtures import pool_folder
from mmssr_jax.training.bundle import load_bundle


def write_all(
    ctx: StageContext, config: FeatureConfig, pool: Pool, *, shards: int, buckets: Buckets, max_pixels: int, mesh: Mesh,
    joint: bool = False,
) -> None:  # fmt: skip
    """Writes the missing shards of every kind in `config`; processes share the shards.

    Args:
      ctx: the stage's context.
      config: the kinds.
      pool: the samples.
      shards: parts of each table.
      buckets: shapes to compile for.
      max_pixels: images with more pixels are rejected.
      mesh: this process's devices, or those of all processes.
      joint: the latter; all processes compute every shard and the main one writes.

    Raises:
      UserError: a model does not exist, or does not fit its kind's settings.
    """
    load = functools.cache(functools.partial(load_bundle, mesh=mesh))
    group = Group(joint=joint)
    find, find_pool = (functools.partial(lookup, ctx) for lookup in (model_folder, pool_folder))
    models = Models(find, load, mesh, max_pixels, find_pool, buckets)
    for kind in config.kinds:
        folder = kind.folder(models.find)
        target = ctx.workdir.features(kind.name)
        is_written = functools.partial(is_done, target, shards=shards)
        with ShardedJob(shards, is_written, lock=ctx.workdir.lock(f"features-{kind.name}"), processes=group) as job:
            settings = {"features": kind.settings(), "kind": kind.name, "shards": shards, "buckets": buckets}
            inputs = {"pool": input_digest(ctx.workdir.pool), **kind.inputs(folder), **kind.pool_inputs(models)}
            claim = functools.partial(ctx.claim, target, stage="score", settings=settings, inputs=inputs, lock=False)
            artifact = job.claim(claim, overwrite="score" in ctx.overwrite)
            if artifact.done:
                continue
            begin = time.monotonic()
            extractor = kind.extractor(folder, models)
            write_features(pool, extractor, target, name=kind.name, job=job, buckets=buckets)
            append_scalars(ctx.workdir.metrics("features"), 0, {f"time/{kind.name}": time.monotonic() - begin})
            seal = functools.partial(artifact.seal, {"shards": shards}, model=kind.model_name)
            job.finish((target / MANIFEST).exists, seal if job.writes else lambda: None)
