"""What the features of a pool will cost, before anything is computed: their sizes, and the passes over the pool."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence

import jax
import numpy as np
from absl import logging

from mmssr_jax.core.model_folder import model_folder
from mmssr_jax.core.stage import StageContext
from mmssr_jax.data.example import Example
from mmssr_jax.pool.pool import Pool
from mmssr_jax.scoring.feature_kind import FeatureConfig
from mmssr_jax.scoring.model_feature import ModelFeature
from mmssr_jax.scoring.scorer import Buckets
from mmssr_jax.training.bundle import ModelBundle, abstract_bundle

_MIB = 1 << 20
_TRIED = 20  # samples, until one can be encoded


def log_sizes(ctx: StageContext, config: FeatureConfig, pool: Pool, buckets: Buckets) -> None:
    """Logs a line for each kind of a vision-language model; no weights are read."""
    for kind in config.kinds:
        if not isinstance(kind, ModelFeature):
            continue
        with ctx.until_missing(f"score: {kind.name}"):
            folder = kind.folder(functools.partial(model_folder, ctx))
            bundle = abstract_bundle(folder)
            kind.check(bundle)
            examples = _examples(kind, bundle, pool)
            if not examples:
                continue
            numbers = kind.passes(folder) * sum(_numbers(kind, bundle, example, buckets) for example in examples)
            weights = sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(bundle.params))
            logging.info(
                "score: %s of %s: %d passes over %d samples, %d numbers each, %.1f MiB; weights %.1f MiB",
                kind.name, kind.model_name, kind.passes(folder) * len(examples), len(pool), numbers,
                4 * numbers * len(pool) / _MIB, weights / _MIB,
            )  # fmt: skip


def _examples(kind: ModelFeature, bundle: ModelBundle, pool: Pool) -> Sequence[Example]:
    """The sequences of the first sample that has any."""
    processor = bundle.processor()
    for n in range(min(_TRIED, len(pool))):
        try:
            examples = kind.encode(pool[n], processor)
        except (OSError, ValueError):
            continue
        if examples:
            return examples
    return ()


def _numbers(kind: ModelFeature, bundle: ModelBundle, example: Example, buckets: Buckets) -> int:
    """The numbers that one sequence of a sample gives."""
    try:
        shape = buckets.shape(example, 0)
    except ValueError:
        return 0
    batch = bundle.processor().collate([example], dataclasses.replace(shape, targets=shape.length))
    result = jax.eval_shape(functools.partial(kind.compute, bundle.graphdef), bundle.params, batch)
    return int(np.prod(result.shape[1:]))
