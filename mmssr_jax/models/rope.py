"""Rotary position embedding (arXiv 2104.09864), in the half-split form of Llama and Qwen2."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
import numpy as np

from mmssr_jax.models.config import RopeScaling


def inv_freq(head_dim: int, theta: float, scaling: RopeScaling | None = None) -> np.ndarray:
    """Inverse frequencies in radians per position, float32 [head_dim / 2]."""
    unscaled = 1.0 / theta ** (np.arange(0, head_dim, 2, dtype=np.float32) / np.float32(head_dim))
    if scaling is None:
        return unscaled.astype(np.float32)
    scaled = unscaled / scaling.factor
    if scaling.kind == "linear":
        return scaled.astype(np.float32)
    rotations = scaling.original_length * unscaled / (2 * math.pi)
    weight = np.clip((rotations - scaling.low) / (scaling.high - scaling.low), 0.0, 1.0)
    return (weight * unscaled + (1 - weight) * scaled).astype(np.float32)


def rope_cos_sin(
    positions: jax.Array, *, head_dim: int, theta: float, scaling: RopeScaling | None = None
) -> tuple[jax.Array, jax.Array]:
    """Cosine and sine, float32 [B, L, head_dim / 2].

    Args:
      positions: int32 [B, L]; or [B, L, head_dim / 2], one for each frequency.
      head_dim, theta, scaling: see `inv_freq`.
    """
    per_frequency = positions if positions.ndim == 3 else positions[..., None]
    angles = per_frequency.astype(jnp.float32) * inv_freq(head_dim, theta, scaling)[None, None]
    return jnp.cos(angles), jnp.sin(angles)


def mrope_positions(positions: jax.Array, sections: tuple[int, int, int], *, head_dim: int) -> jax.Array:
    """The position that each frequency rotates by, [B, L, head_dim / 2] (interleaved MRoPE, arXiv 2511.21631).

    Frequency j rotates by the height if j % 3 = 1 and j < 3 sections[1], by the width if j % 3 = 2 and
    j < 3 sections[2], otherwise by the time.

    Args:
      positions: int32 [B, L, 3], of the axes time, height and width.
      sections: see `DecoderConfig.mrope`.
      head_dim: H.
    """
    frequency = np.arange(head_dim // 2)
    axis = np.where((frequency % 3 > 0) & (frequency < 3 * np.array(sections)[frequency % 3]), frequency % 3, 0)
    return positions[..., axis]


def apply_rope(x_BLNH: jax.Array, cos: jax.Array, sin: jax.Array) -> jax.Array:
    """Rotates queries or keys, [B, L, N, H] -> [B, L, N, H], in float32.

    Element i of a head forms a pair with element i + H / 2.

    Args:
      x_BLNH: [B, L, N, H], or [B, L, K, H].
      cos, sin: float32 [B, L, H / 2], see `rope_cos_sin`.
    """
    a, b = jnp.split(x_BLNH.astype(jnp.float32), 2, axis=-1)
    cos, sin = cos[:, :, None], sin[:, :, None]
    return jnp.concatenate([a * cos - b * sin, b * cos + a * sin], axis=-1).astype(x_BLNH.dtype)
