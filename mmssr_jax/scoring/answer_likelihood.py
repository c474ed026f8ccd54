"""How likely a model finds the answers of a conversation: the mean -log p of the tokens to predict.

Axes: B batch rows, L tokens, K loss targets, D model width, V vocabulary.
"""

from __future__ import annotations

import dataclasses
import re

import jax
import jax.numpy as jnp
import numpy as np

from mmssr_jax.core.sample import IMAGE_TAG, Sample
from mmssr_jax.data.batch import Batch
from mmssr_jax.models.vlm import VLM

# Targets of a row whose logits are computed at a time. It bounds the memory for logits to [B, 16, V], and steps beyond
# the longest answers of a batch are skipped, so that the cost follows the answers and not the shape of the batch.
_TARGETS_AT_ONCE = 16
_OFFSET = 0.01  # nats; below that a model is certain, and the logarithm is noise


def mean_answer_nll(model: VLM, hidden: jax.Array, batch: Batch) -> jax.Array:
    """Mean -log p of each row's loss targets, float32 [B]; NaN for a row without targets.

    Args:
      model: for its output projection.
      hidden: [B, L, D], the model's hidden states of the batch's tokens.
      batch: its targets, [B, K], come before their padding.
    """
    B, K = batch.loss_target.shape
    steps = -(-K // _TARGETS_AT_ONCE)
    padding = ((0, 0), (0, steps * _TARGETS_AT_ONCE - K))
    position_BK, target_BK, weight_BK = (
        jnp.pad(x, padding) for x in (batch.loss_position, batch.loss_target, batch.loss_weight)
    )
    used = (weight_BK > 0).sum(1).max(initial=0)

    def add(total_B: jax.Array, begin: jax.Array) -> tuple[jax.Array, None]:
        at_Bk, of_Bk, by_Bk = (
            jax.lax.dynamic_slice_in_dim(x, begin, _TARGETS_AT_ONCE, axis=1)
            for x in (position_BK, target_BK, weight_BK)
        )

        def compute() -> jax.Array:
            hidden_BkD = jnp.take_along_axis(hidden, at_Bk[:, :, None], axis=1)
            log_p_BkV = jax.nn.log_softmax(model.logits(hidden_BkD), axis=-1)
            return total_B - (jnp.take_along_axis(log_p_BkV, of_Bk[:, :, None], axis=2)[..., 0] * by_Bk).sum(1)

        return jax.lax.cond(begin < used, compute, lambda: total_B), None

    total_B, _ = jax.lax.scan(add, jnp.zeros(B, jnp.float32), jnp.arange(steps) * _TARGETS_AT_ONCE)
    return total_B / weight_BK.sum(1)


def answer_nll(model: VLM, batch: Batch) -> jax.Array:
    """`mean_answer_nll` of a batch from a forward pass of its own, float32 [B]."""
    hidden_BLD = model(batch.tokens, batch.pixels, batch.image_index, batch.positions, batch.visible_until)
    return mean_answer_nll(model, hidden_BLD, batch)


def log_nll(nll: np.ndarray) -> np.ndarray:
    """log(nll + 0.01) of mean -log p in nats, float64 [n]; NaN where there is none."""
    return np.log(np.maximum(np.asarray(nll, np.float64), 0) + _OFFSET)


def without_images(sample: Sample) -> Sample:
    """The sample without its images and their tags."""
    turns = (dataclasses.replace(t, text=re.sub(f"{IMAGE_TAG}\n?", "", t.text)) for t in sample.turns)
    return dataclasses.replace(sample, turns=tuple(turns), images=())
