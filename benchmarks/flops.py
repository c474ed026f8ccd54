"""FLOPs of a forward pass, counted as in training (`mmssr_jax.training.flops`)."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from mmssr_jax.data.batch import Batch
from mmssr_jax.models.config import VLMConfig
from mmssr_jax.models.module_params import Params
from mmssr_jax.training.flops import step_flops


def forward_flops(config: VLMConfig, params: Params, *, rows: int, length: int, targets: int) -> float:
    """FLOPs of the matrix products in a forward pass over `rows` sequences with one image view each.

    A multiplication with its addition counts as 2.

    Args:
      config: of the model.
      params: of the model, or their shapes.
      rows, length: of the batch.
      targets: positions per row whose logits are computed.
    """

    def shape(*sizes: int) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct(sizes, jnp.int32)

    tokens, read, side = shape(rows, length), shape(rows, targets), config.vision.image_size
    batch = Batch(tokens, tokens, tokens, tokens, shape(rows, side, side, 3), read, read, read)
    return step_flops(config, params)(batch) / 3  # backward counts as two forward
