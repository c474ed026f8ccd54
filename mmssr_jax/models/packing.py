"""What stands at each token's place: the row of an image feature, or a weighted sum of four (`core.vision_spec`)."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp

from mmssr_jax.images.anyres import TEXT_ROW, FeatureIndex, WeightedIndex


def resample(features: jax.Array, rows: jax.Array, weights: jax.Array) -> jax.Array:
    """Image tokens of a blend, as rows of their own.

    Args:
      features: [F, D], see `vlm.pack_features`: the newline, then the features of all tiles.
      rows: int32 [M, 4] rows of `features`; padding may point anywhere with weight 0.
      weights: float32 [M, 4].

    Returns:
      [M, D]; token m is row m.
    """
    return gather(lambda at: jnp.take(features, jnp.maximum(at, 0), axis=0), WeightedIndex(rows, weights))


def gather(take: Callable[[jax.Array], jax.Array], rows: FeatureIndex) -> jax.Array:
    """The features of tokens.

    Args:
      take: int32 [...] row numbers -> features [..., D]; what it gives for -1 does not matter.
      rows: of the tokens.

    Returns:
      [..., D], summed in float32 where they are blends.
    """
    if not isinstance(rows, WeightedIndex):
        return take(rows)
    parts = [take(rows.rows[..., n]) for n in range(4)]
    weights = rows.weights
    total = sum(weights[..., n, None] * part.astype(jnp.float32) for n, part in enumerate(parts))
    return jnp.asarray(total, parts[0].dtype)


def with_text(rows: FeatureIndex, count: int) -> FeatureIndex:
    """The rows of [B, L] tokens, and of `count` tokens of text after each."""
    if isinstance(rows, WeightedIndex):
        room = ((0, 0), (0, count), (0, 0))
        return WeightedIndex(jnp.pad(rows.rows, room, constant_values=TEXT_ROW), jnp.pad(rows.weights, room))
    return jnp.pad(rows, ((0, 0), (0, count)), constant_values=TEXT_ROW)
