"""The transformer layer of the vision towers and CLIP's text tower: layer norms, biases everywhere, no RoPE."""

from __future__ import annotations

import jax
from flax import nnx

from mmssr_jax.models.attention.api import attend
from mmssr_jax.models.clip_config import ClipTextConfig
from mmssr_jax.models.config import Compute, VisionConfig
from mmssr_jax.models.layers import MLP, LayerNorm, linear
from mmssr_jax.parallel.rules import constrain_batch


class EncoderAttention(nnx.Module):
    """Multi-head attention with as many key/value heads as query heads."""

    def __init__(self, width: int, heads: int, *, compute: Compute, rngs: nnx.Rngs):
        self.heads, self.implementation = heads, compute.attention
        self.q = linear(width, width, dtype=compute.dtype, rngs=rngs)
        self.k = linear(width, width, dtype=compute.dtype, rngs=rngs)
        self.v = linear(width, width, dtype=compute.dtype, rngs=rngs)
        self.o = linear(width, width, dtype=compute.dtype, rngs=rngs)

    def __call__(self, x_BLD: jax.Array, visible_until: jax.Array | None) -> jax.Array:
        """[B, L, D] -> [B, L, D]; `visible_until` int32 [B, L], None for full attention."""
        q_BLNH, k_BLNH, v_BLNH = (
            project(x_BLD).reshape(*x_BLD.shape[:2], self.heads, -1) for project in (self.q, self.k, self.v)
        )
        y_BLNH = attend(q_BLNH, k_BLNH, v_BLNH, visible_until=visible_until, implementation=self.implementation)
        return self.o(y_BLNH.reshape(x_BLD.shape))


class EncoderLayer(nnx.Module):
    """Pre-norm attention and MLP."""

    def __init__(self, config: VisionConfig | ClipTextConfig, *, compute: Compute, rngs: nnx.Rngs):
        width = config.width
        self.norm1 = LayerNorm(width, eps=config.eps)
        self.attn = EncoderAttention(width, config.heads, compute=compute, rngs=rngs)
        self.norm2 = LayerNorm(width, eps=config.eps)
        self.mlp = MLP(width, config.mlp, width, activation=config.activation, dtype=compute.dtype, rngs=rngs)

    def __call__(self, x_BLD: jax.Array, visible_until: jax.Array | None = None) -> jax.Array:
        """[B, L, D] -> [B, L, D]; `visible_until` int32 [B, L], None for full attention."""
        x_BLD = x_BLD + self.attn(self.norm1(x_BLD), visible_until)
        return constrain_batch(x_BLD + self.mlp(self.norm2(x_BLD)))
