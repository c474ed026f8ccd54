"""The loss of a language model at given positions."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import optax

from mmssr_jax.data.batch import Batch
from mmssr_jax.models.vlm import VLM


def normalise(pixels: jax.Array) -> jax.Array:
    """uint8 [..., 3] -> float32 in [-1, 1]: mean and standard deviation 0.5, as SigLIP takes it."""
    return pixels.astype(jnp.float32) / 127.5 - 1.0


def read_logits(model: VLM, batch: Batch) -> jax.Array:
    """Next-token logits at `batch.loss_position`, float32 [B, K, V]; no others are computed."""
    pixels = normalise(batch.pixels) if batch.pixels.shape[0] else None
    hidden = model(batch.tokens, pixels, batch.image_index, batch.positions, batch.until)
    at = jnp.take_along_axis(hidden, batch.loss_position[:, :, None], axis=1)
    return model.logits(at)


def weighted_loss(model: VLM, batch: Batch) -> tuple[jax.Array, dict[str, jax.Array]]:
    """Sum over targets of weight x cross entropy, and what a mean needs.

    Returns:
      The sum, and {"weight": sum of weights, "hits": weight of targets that are the arg-max}.
    """
    logits = read_logits(model, batch)
    entropy = optax.softmax_cross_entropy_with_integer_labels(logits, batch.loss_target)
    hits = (logits.argmax(-1) == batch.loss_target) * batch.loss_weight
    return (entropy * batch.loss_weight).sum(), {"weight": batch.loss_weight.sum(), "hits": hits.sum()}
