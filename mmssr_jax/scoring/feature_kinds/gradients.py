"""Randomly projected gradients of the answers' mean loss; the input of ICONS.

| column | meaning |
| --- | --- |
| gradient | the projected gradient, float32 [dimensions] |

The projection is a count sketch (Charikar et al., 2002): each entry of the gradient is added, with a random sign, to
one of `dimensions` sums. It preserves inner products in expectation.
"""

from __future__ import annotations

import dataclasses
import re
import zlib
from collections.abc import Mapping

import jax
import jax.numpy as jnp
import numpy as np
import pyarrow as pa
from flax import nnx

from mmssr_jax.core.errors import UserError
from mmssr_jax.data.batch import Batch
from mmssr_jax.data.example import Example
from mmssr_jax.models.module_params import Params, merge
from mmssr_jax.parallel import paths
from mmssr_jax.scoring.answer_likelihood import answer_nll
from mmssr_jax.scoring.model_feature import ModelFeature, vector_column
from mmssr_jax.training.bundle import ModelBundle
from mmssr_jax.training.step import split_batch


@dataclasses.dataclass(frozen=True)
class Gradients(ModelFeature):
    """Projected per-sample gradients.

    Attributes:
      gradient_of: regular expression, searched in the dotted names of the parameters to differentiate.
      dimensions: length of the projected gradient.
      seed: seed of the projection.
    """

    gradient_of: str = r"decoder\.layers\.attn\.(q|v)\.kernel$"
    dimensions: int = 1024
    seed: int = 0

    def check(self, bundle: ModelBundle) -> None:
        if not any(re.search(self.gradient_of, name) for name in paths.flatten(bundle.params)):
            raise UserError(f"config.score.features.gradient_of: no parameter matches {self.gradient_of!r}")

    def compute(self, graphdef: nnx.GraphDef, params: Params, batch: Batch) -> jax.Array:
        """Each row's projected gradient of `answer_nll`, float32 [B, dimensions]."""
        flat = paths.flatten(params)
        chosen = {name: x for name, x in flat.items() if re.search(self.gradient_of, name)}

        def loss(chosen: Mapping[str, jax.Array], row: Batch) -> jax.Array:
            return answer_nll(merge(graphdef, paths.unflatten({**flat, **chosen})), row)[0]

        def projected(row: Batch) -> jax.Array:
            gradients = jax.grad(loss)(chosen, row)
            return sum((self.project(n, g) for n, g in gradients.items()), jnp.zeros(self.dimensions))

        tokens_per_image = merge(graphdef, params).config.image_tokens
        return jax.lax.map(projected, split_batch(batch, len(batch.tokens), tokens_per_image=tokens_per_image))

    def project(self, name: str, gradient: jax.Array) -> jax.Array:
        """The count sketch of one parameter's gradient [...], float32 [dimensions]; its hashes depend on the name."""
        key = jax.random.fold_in(jax.random.key(self.seed), zlib.crc32(name.encode()))
        bucket_key, sign_key = jax.random.split(key)
        flat = gradient.astype(jnp.float32).reshape(-1)
        bucket = jax.random.randint(bucket_key, flat.shape, 0, self.dimensions)
        sign = jax.random.rademacher(sign_key, flat.shape, jnp.float32)
        return jax.ops.segment_sum(flat * sign, bucket, self.dimensions)

    def columns(self, values: list[np.ndarray], examples: list[tuple[Example, ...]]) -> dict[str, pa.Array]:
        """From one array [n, dimensions]."""
        return {"gradient": vector_column(values[0])}


FEATURE = Gradients
