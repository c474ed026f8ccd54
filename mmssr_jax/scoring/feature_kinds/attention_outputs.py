"""Mean attention outputs of chosen layers, over image tokens and over language tokens; the input of COINCIDE.

| column | meaning |
| --- | --- |
| layer<k>_image, layer<k>_text | the mean of what the attention of layer k adds to its input, float32 [D] |

As in COINCIDE (arXiv 2406.10995): the attention's output projection; the mean over the image's tokens, and over the
language tokens after the last image (all tokens of a sample without images, whose image part is 0). With `unit`, tanh
of the mean, scaled to length 1. COINCIDE takes every fourth layer of a decoder of 24: 3, 7, 11, 15, 19.
"""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pyarrow as pa
from flax import nnx

from mmssr_jax.core.errors import UserError
from mmssr_jax.data.batch import Batch
from mmssr_jax.data.example import Example
from mmssr_jax.models.module_params import Params, merge
from mmssr_jax.scoring.model_feature import ModelFeature, vector_column
from mmssr_jax.scoring.token_masks import image_and_language, masked_mean
from mmssr_jax.training.bundle import ModelBundle


@dataclasses.dataclass(frozen=True)
class AttentionOutputs(ModelFeature):
    """Mean-pooled outputs of attention.

    Attributes:
      layers: layer indices from 0.
      unit: the tanh of each mean, scaled to length 1, instead of the mean.
    """

    layers: tuple[int, ...] = (0,)
    unit: bool = False

    def check(self, bundle: ModelBundle) -> None:
        decoder = bundle.config.decoder
        if decoder.moe is not None:
            raise UserError("config.score.features: attention_outputs needs a dense model, not one with experts")
        if any(not 0 <= k < decoder.depth for k in self.layers):
            raise UserError(
                f"config.score.features.layers: the model has layers 0 to {decoder.depth - 1}, not {self.layers}"
            )

    def compute(self, graphdef: nnx.GraphDef, params: Params, batch: Batch) -> jax.Array:
        """Float32 [B, layers, 2, D]; 0 for a row without such tokens."""
        model = merge(graphdef, params)
        masks_B2L = image_and_language(batch)
        embeddings = model.embed(batch.tokens, batch.pixels, batch.image_index)
        _, means_KB2D = model.decoder.read_layers(
            embeddings,
            batch.positions,
            batch.visible_until,
            lambda _layer, _input, attention_BLD: masked_mean(attention_BLD, masks_B2L),
            depth=max(self.layers) + 1,
        )
        means_BK2D = jnp.moveaxis(means_KB2D[np.array(self.layers)], 0, 1)
        if not self.unit:
            return means_BK2D
        squashed_BK2D = jnp.tanh(means_BK2D)
        length_BK21 = jnp.linalg.norm(squashed_BK2D, axis=-1, keepdims=True)
        return squashed_BK2D / jnp.where(length_BK21 > 0, length_BK21, 1.0)

    def columns(self, values: list[np.ndarray], examples: list[tuple[Example, ...]]) -> dict[str, pa.Array]:
        """From one array [n, layers, 2, D]."""
        names = [f"layer{k}_{modality}" for k in self.layers for modality in ("image", "text")]
        flat = values[0].reshape(len(examples), len(names), values[0].shape[-1])
        return {name: vector_column(flat[:, n]) for n, name in enumerate(names)}


FEATURE = AttentionOutputs
