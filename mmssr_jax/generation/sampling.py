"""Sampling the next token from logits."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp


@dataclasses.dataclass(frozen=True)
class Sampling:
    """How tokens are sampled.

    Attributes:
      temperature: 0 is greedy (the most likely token, the lowest id among ties).
      top_k: sample from the k most likely tokens only; 0 for all.
      top_p: nucleus sampling: from the most likely tokens that together have this probability (arXiv 1904.09751).
      seed: a row's samples depend only on it, on the row's seed and on the step.
    """

    temperature: float = 0.0
    top_k: int = 0
    top_p: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        if self.temperature < 0 or self.top_k < 0 or not 0 < self.top_p <= 1:
            raise ValueError("temperature and top_k must not be negative, top_p must lie in (0, 1]")


def sample(logits: jax.Array, seeds: jax.Array, step: jax.Array, sampling: Sampling) -> jax.Array:
    """Samples one token per row.

    Args:
      logits: float32 [B, V].
      seeds: int32 [B], one per row.
      step: int32 [], index of the token in its answer.
      sampling: static.

    Returns:
      int32 [B].
    """
    if sampling.temperature == 0:
        return jnp.argmax(logits, axis=-1).astype(jnp.int32)
    logits = restrict(logits / sampling.temperature, top_k=sampling.top_k, top_p=sampling.top_p)
    key = jax.random.key(sampling.seed)
    keys = jax.vmap(lambda s: jax.random.fold_in(jax.random.fold_in(key, s), step))(seeds)
    return jax.vmap(jax.random.categorical)(keys, logits).astype(jnp.int32)


def sample_rows(
    logits: jax.Array, temperature: jax.Array, top_p: jax.Array, seeds: jax.Array, step: jax.Array
) -> jax.Array:
    """Samples one token per row with per-row settings; `sample` with settings as arrays and without `top_k`.

    Args:
      logits: float32 [B, V].
      temperature: float32 [B]; 0 is greedy.
      top_p: float32 [B].
      seeds: int32 [B]; a row's samples depend only on its seed and on the step.
      step: int32 [], index of the token in its answer.

    Returns:
      int32 [B].
    """
    greedy = jnp.argmax(logits, axis=-1).astype(jnp.int32)

    def sampled() -> jax.Array:
        scaled = logits / jnp.where(temperature > 0, temperature, 1.0)[:, None]
        order = jnp.argsort(-scaled, axis=-1, stable=True)
        ranked = jnp.take_along_axis(scaled, order, axis=-1)
        probability = jax.nn.softmax(ranked, axis=-1)
        ranked = jnp.where(jnp.cumsum(probability, axis=-1) - probability < top_p[:, None], ranked, -jnp.inf)
        keys = jax.vmap(lambda s: jax.random.fold_in(jax.random.key(s), step))(seeds)
        ranks = jax.vmap(jax.random.categorical)(keys, ranked)
        tokens = jnp.take_along_axis(order, ranks[:, None], axis=-1)[:, 0].astype(jnp.int32)
        return jnp.where(temperature > 0, tokens, greedy)

    return jax.lax.cond((temperature > 0).any(), sampled, lambda: greedy)  # greedy batches skip the sort


def restrict(logits: jax.Array, *, top_k: int, top_p: float) -> jax.Array:
    """Logits [..., V] with -inf for tokens outside the `top_k` and the `top_p` nucleus; the most likely token stays."""
    if not top_k and top_p == 1:
        return logits
    order = jnp.argsort(-logits, axis=-1, stable=True)
    ranked = jnp.take_along_axis(logits, order, axis=-1)
    probability = jax.nn.softmax(ranked, axis=-1)
    keep = jnp.cumsum(probability, axis=-1) - probability < top_p
    if top_k:
        keep &= jnp.arange(logits.shape[-1]) < top_k
    ranked = jnp.where(keep, ranked, -jnp.inf)
    return jnp.take_along_axis(ranked, jnp.argsort(order, axis=-1), axis=-1)
