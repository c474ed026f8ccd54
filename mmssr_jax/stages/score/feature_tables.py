"""The part of stage `score` that writes `features/<kind>/part-*.parquet`, for selection methods that use features."""

from __future__ import annotations

import functools

from jax.sharding import Mesh

from mmssr_jax.core.artifact import MANIFEST, input_digest
from mmssr_jax.core.model_folder import model_folder
from mmssr_jax.core.stage import StageContext
from mmssr_jax.pool.pool import Pool
from mmssr_jax.scoring.feature_kind import FeatureConfig, Models
from mmssr_jax.scoring.feature_run import write_features
from mmssr_jax.scoring.score_pool import is_done
from mmssr_jax.scoring.scorer import Buckets
from mmssr_jax.scoring.work_list import WorkList, preferred
from mmssr_jax.training.bundle import load_bundle


def write_all(
    ctx: StageContext, config: FeatureConfig, pool: Pool, *, shards: int, buckets: Buckets, max_pixels: int, mesh: Mesh,
    index: int, processes: int,
) -> None:  # fmt: skip
    """Writes the missing shards of every kind in `config`; processes share the shards.

    Args:
      ctx: the stage's context.
      config: the kinds.
      pool: the samples.
      shards: parts of each table.
      buckets: shapes to compile for.
      max_pixels: images with more pixels are rejected.
      mesh: this process's devices.
      index, processes: this process, and the number of processes.

    Raises:
      UserError: a model does not exist, or does not fit its kind's settings.
    """
    load = functools.cache(functools.partial(load_bundle, mesh=mesh))
    models = Models(functools.partial(model_folder, ctx), load, mesh, max_pixels)
    for kind in config.kinds:
        folder = kind.folder(models.find)
        target = ctx.workdir.features(kind.name)
        with WorkList(ctx.workdir.lock(f"features-{kind.name}")) as work:
            work.share()
            settings = {"features": kind.settings(), "kind": kind.name, "shards": shards, "buckets": buckets}
            inputs = {"pool": input_digest(ctx.workdir.pool), **kind.inputs(folder)}
            artifact = ctx.claim(target, stage="score", settings=settings, inputs=inputs, lock=False)
            if artifact.done:
                continue
            order = preferred(shards, index=index, processes=processes)
            write_features(
                pool,
                kind.extractor(folder, models),
                target,
                name=kind.name,
                shards=shards,
                buckets=buckets,
                todo=work.items(order, functools.partial(is_done, target, shards=shards)),
            )
            work.finish((target / MANIFEST).exists, functools.partial(artifact.seal, {"shards": shards}))
