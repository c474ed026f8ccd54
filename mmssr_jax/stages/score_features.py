"""The part of stage `score` that writes `features/<kind>/part-*.parquet` for selectors that do not use scores."""

from __future__ import annotations

import functools
from pathlib import Path

from jax.sharding import Mesh

from mmssr_jax.core.artifact import MANIFEST, input_digest
from mmssr_jax.core.stage import StageContext
from mmssr_jax.pool.pool import Pool
from mmssr_jax.scoring.feature_run import write_features
from mmssr_jax.scoring.features import FeatureConfig, FeatureReader
from mmssr_jax.scoring.rater import Buckets
from mmssr_jax.scoring.run import is_done
from mmssr_jax.scoring.work import WorkList, preferred
from mmssr_jax.stages.models import model_digest, model_folder
from mmssr_jax.training.bundle import load_bundle


def write_all(
    ctx: StageContext, config: FeatureConfig, pool: Pool, *, shards: int, buckets: Buckets, max_pixels: int, mesh: Mesh,
    index: int, processes: int,
) -> None:  # fmt: skip
    """Writes every kind that `config` names and that is not there yet; processes share the shards."""
    folder = model_folder(ctx, config.model)
    inputs = {"pool": input_digest(ctx.workdir.pool), "model": model_digest(folder)}
    bundle = None
    for kind in config.kinds:
        target = ctx.workdir.root / "features" / kind
        with WorkList(ctx.workdir.root / "locks" / f"features-{kind}") as work:
            work.share()
            settings = {"features": config, "kind": kind, "shards": shards, "buckets": buckets}
            artifact = ctx.claim(target, stage="score", settings=settings, inputs=inputs)
            if artifact.done:
                continue
            bundle = bundle or load_bundle(folder)
            order = preferred(shards, index=index, processes=processes)
            todo = work.items(order, functools.partial(_is_done, target, shards))
            write_features(
                pool, FeatureReader(bundle, kind, config, mesh=mesh), target, shards=shards, buckets=buckets,
                max_pixels=max_pixels, todo=todo,
            )  # fmt: skip
            sealed = target / MANIFEST
            work.finish(sealed.exists, functools.partial(artifact.seal, {"shards": shards}))


def _is_done(folder: Path, shards: int, shard: int) -> bool:
    return is_done(folder, shard, shards)
