"""The part of stage `score` that writes `features/<kind>/part-*.parquet` for selectors that do not use scores."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path

from jax.sharding import Mesh

from mmssr_jax.convert.import_hf import load_clip
from mmssr_jax.core.artifact import MANIFEST, input_digest
from mmssr_jax.core.errors import UserError
from mmssr_jax.core.model_folder import model_digest, model_folder
from mmssr_jax.core.stage import StageContext
from mmssr_jax.pool.pool import Pool
from mmssr_jax.scoring.feature_run import FeatureExtractor, write_features
from mmssr_jax.scoring.features import FeatureConfig, Kind, ModelFeatureExtractor
from mmssr_jax.scoring.score_pool import is_done
from mmssr_jax.scoring.scorer import Buckets
from mmssr_jax.scoring.similarity import Pair, PairText, SimilarityExtractor
from mmssr_jax.scoring.work_list import WorkList, preferred
from mmssr_jax.training.bundle import ModelBundle, load_bundle

_SETTINGS: dict[Kind, tuple[str, ...]] = {
    "likelihood": ("max_length",),
    "embedding": ("max_length",),
    "activations": ("max_length", "layers"),
    "gradients": ("max_length", "gradient_of", "dimensions", "seed"),
    "similarity": (),
}
"""What of the config a kind hangs on, besides its model."""


def write_all(
    ctx: StageContext, config: FeatureConfig, pool: Pool, *, shards: int, buckets: Buckets, max_pixels: int, mesh: Mesh,
    index: int, processes: int,
) -> None:  # fmt: skip
    """Writes every kind that `config` names and that is not there yet; processes share the shards.

    Raises:
      UserError: a model is not there or does not fit its kind.
    """
    load = functools.cache(functools.partial(load_bundle, mesh=mesh))  # once for all kinds
    for kind in config.kinds:
        folder = _folder(ctx, config, kind)
        target = ctx.workdir.features(kind)
        with WorkList(ctx.workdir.lock(f"features-{kind}")) as work:
            work.share()
            own = {name: getattr(config, name) for name in _SETTINGS[kind]}
            settings = {"features": own, "kind": kind, "shards": shards, "buckets": buckets}
            inputs = _inputs(ctx, kind, folder)
            artifact = ctx.claim(target, stage="score", settings=settings, inputs=inputs, lock=False)
            if artifact.done:
                continue
            order = preferred(shards, index=index, processes=processes)
            todo = work.items(order, functools.partial(_is_done, target, shards))
            reader = _reader(kind, config, folder, load, mesh)
            write_features(
                pool, reader, target, shards=shards, buckets=buckets, max_pixels=max_pixels, todo=todo,
            )  # fmt: skip
            sealed = target / MANIFEST
            work.finish(sealed.exists, functools.partial(artifact.seal, {"shards": shards}))


def _folder(ctx: StageContext, config: FeatureConfig, kind: Kind) -> Path:
    if kind != "similarity":
        return model_folder(ctx, config.model)
    if config.pair is None:
        raise UserError("config.score.features.pair is not set: the kind similarity needs a CLIP or SigLIP folder")
    folder = Path(config.pair)
    if not (folder / "config.json").exists():
        raise UserError(
            f"config.score.features.pair={config.pair}: holds no config.json of a CLIP or SigLIP checkpoint"
        )
    return folder


def _inputs(ctx: StageContext, kind: Kind, folder: Path) -> dict[str, str]:
    """Identities of what a kind is made of; of a pair all that decides what it sees."""
    inputs = {"pool": input_digest(ctx.workdir.pool)}
    if kind != "similarity":
        return inputs | {"model": model_digest(folder)}
    found = [*sorted(folder.glob("*.safetensors")), *sorted(folder.glob("*.json"))]
    return inputs | {path.name: input_digest(path) for path in found}


def _reader(
    kind: Kind, config: FeatureConfig, folder: Path, load: Callable[[Path], ModelBundle], mesh: Mesh
) -> FeatureExtractor:
    if kind != "similarity":
        return ModelFeatureExtractor(load(folder), kind, config, mesh=mesh)
    found, (graphdef, params) = load_clip(folder)
    text = PairText(folder / "tokenizer.json", length=found.text.length, pad=found.text.pad_token)
    return SimilarityExtractor(Pair(found, graphdef, params, text), mesh=mesh)


def _is_done(target: Path, shards: int, shard: int) -> bool:
    return is_done(target, shard, shards)
