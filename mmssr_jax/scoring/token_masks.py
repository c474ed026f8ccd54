"""Which tokens of a batch are images, language after them, or an assistant's, for batches with one sample per row."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from mmssr_jax.data.batch import Batch
from mmssr_jax.images.anyres import is_image


def image_tokens(batch: Batch) -> jax.Array:
    """Bool [B, L]: the image tokens."""
    return is_image(batch.image_index) & in_sample(batch)


def image_and_language(batch: Batch) -> jax.Array:
    """Float32 [B, 2, L]: image tokens; language tokens after the last of them, or all where there is no image."""
    image_BL = image_tokens(batch)
    behind_BL = jnp.flip(jnp.cumsum(jnp.flip(image_BL, axis=1), axis=1), axis=1) == 0  # no image token from here on
    return jnp.stack([image_BL, behind_BL & in_sample(batch)], axis=1).astype(jnp.float32)


def answer_tokens(batch: Batch) -> jax.Array:
    """Bool [B, L]: the tokens of the answers, which are the loss targets; each follows its loss position."""
    L = batch.tokens.shape[1]
    at_BK = jnp.where(batch.loss_weight > 0, batch.loss_position + 1, L)
    return jax.vmap(lambda at_K: jnp.zeros(L + 1, bool).at[at_K].set(True))(at_BK)[:, :L] & in_sample(batch)


def masked_mean(x: jax.Array, masks: jax.Array) -> jax.Array:
    """The mean of x [B, L, D] over the tokens of each mask, float32 [B, M, L] -> float32 [B, M, D]; 0 without any."""
    sums_BMD = jnp.einsum("bld,bml->bmd", x.astype(jnp.float32), masks)
    return sums_BMD / jnp.maximum(masks.sum(-1), 1.0)[..., None]


def in_sample(batch: Batch) -> jax.Array:
    """Bool [B, L]: no padding."""
    return jnp.arange(batch.tokens.shape[1])[None] < batch.visible_until[:, :1]
