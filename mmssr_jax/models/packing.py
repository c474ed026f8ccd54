"""Tile features to image tokens: a weighted sum of at most four rows each (see `core.vision_spec.feature_rows`)."""

from __future__ import annotations

import jax
import jax.numpy as jnp


def resample(features: jax.Array, rows: jax.Array, weights: jax.Array) -> jax.Array:
    """Image tokens of anyres pictures, for `VLM.embed` to place.

    Args:
      features: [F, D], see `vlm.pack_features`: the newline, then the features of all tiles.
      rows: int32 [M, 4] rows of `features`; padding may point anywhere with weight 0.
      weights: float32 [M, 4].

    Returns:
      [M, D]; token m is row m.
    """
    picked = jnp.take(features, rows, axis=0)
    return jnp.einsum("mnd,mn->md", picked, weights.astype(features.dtype), preferred_element_type=jnp.float32).astype(
        features.dtype
    )
