"""Position-weighted mean of the last layer's states; the input of RDS+.

| column | meaning |
| --- | --- |
| weighted | the mean of the final hidden states, weighted by position (1, 2, ...), of length 1, float32 [D] |
| <task>.<n> | with `targets`: the cosine to the nth target sample of a task, from 0, float32 |

As in RDS+ (arXiv 2503.01807), over the whole conversation. Where samples of the pool itself are given as targets, it is
the variant of a small trusted set.
"""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pyarrow as pa
from flax import nnx

from mmssr_jax.data.batch import Batch
from mmssr_jax.data.example import Example
from mmssr_jax.models.module_params import Params, merge
from mmssr_jax.scoring.model_feature import vector_column
from mmssr_jax.scoring.targeted_feature import TargetedFeature
from mmssr_jax.scoring.token_masks import in_sample


@dataclasses.dataclass(frozen=True)
class WeightedStates(TargetedFeature):
    """Position-weighted hidden states, and their cosines to those of target samples."""

    max_length: int = 2048

    def compute(self, graphdef: nnx.GraphDef, params: Params, batch: Batch) -> jax.Array:
        """Unit vectors, float32 [B, D]."""
        model = merge(graphdef, params)
        hidden_BLD = model(batch.tokens, batch.pixels, batch.image_index, batch.positions, batch.visible_until)
        weight_L = jnp.arange(1, batch.tokens.shape[1] + 1, dtype=jnp.float32)
        weight_BL = jnp.where(in_sample(batch), weight_L, 0.0)
        sum_BD = jnp.einsum("bld,bl->bd", hidden_BLD.astype(jnp.float32), weight_BL / weight_BL.sum(1, keepdims=True))
        return sum_BD / jnp.linalg.norm(sum_BD, axis=-1, keepdims=True)

    def columns(self, values: list[np.ndarray], examples: list[tuple[Example, ...]]) -> dict[str, pa.Array]:
        """From one array [n, D]."""
        return {"weighted": vector_column(values[0])}

    def compare(self, vectors: np.ndarray, targets: np.ndarray, tasks: np.ndarray) -> dict[str, pa.Array]:
        """One column a target sample; see `TargetedFeature.compare` for the arrays, [n, d], [T, d] and [T]."""
        cosine = vectors @ targets.T
        place = [int((tasks[:n] == task).sum()) for n, task in enumerate(tasks)]
        names = [f"{task}.{n}" for task, n in zip(tasks, place, strict=True)]
        return {name: pa.array(column, pa.float32()) for name, column in zip(names, cosine.T, strict=True)}


FEATURE = WeightedStates
