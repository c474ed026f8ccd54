"""Rotary position embedding (arXiv 2104.09864), in the half-split form of Llama and Qwen2."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
import numpy as np

from mmssr_jax.models.config import RopeScaling


def inv_freq(head_dim: int, theta: float, scaling: RopeScaling | None = None) -> np.ndarray:
    """Radians a position, float32 [head_dim / 2]."""
    plain = 1.0 / theta ** (np.arange(0, head_dim, 2, dtype=np.float32) / np.float32(head_dim))
    if scaling is None:
        return plain.astype(np.float32)
    slow = plain / scaling.factor
    if scaling.kind == "linear":
        return slow.astype(np.float32)
    turns = scaling.original_length * plain / (2 * math.pi)
    keep = np.clip((turns - scaling.low) / (scaling.high - scaling.low), 0.0, 1.0)
    return (keep * plain + (1 - keep) * slow).astype(np.float32)


def rope_cos_sin(
    positions: jax.Array, *, head_dim: int, theta: float, scaling: RopeScaling | None = None
) -> tuple[jax.Array, jax.Array]:
    """Cosine and sine, float32 [B, L, head_dim / 2], of positions [B, L]."""
    turns = positions[..., None].astype(jnp.float32) * inv_freq(head_dim, theta, scaling)
    return jnp.cos(turns), jnp.sin(turns)


def apply_rope(x: jax.Array, cos: jax.Array, sin: jax.Array) -> jax.Array:
    """Turns [B, L, heads, head_dim]: element i pairs with element i + head_dim / 2. Float32 inside."""
    a, b = jnp.split(x.astype(jnp.float32), 2, axis=-1)
    cos, sin = cos[:, :, None], sin[:, :, None]
    return jnp.concatenate([a * cos - b * sin, b * cos + a * sin], axis=-1).astype(x.dtype)
