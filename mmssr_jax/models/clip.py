"""CLIP (arXiv 2103.00020) and SigLIP (arXiv 2303.15343): an image and a text as two unit vectors.

Their inner product is the image-text similarity.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from flax import nnx

from mmssr_jax.models.clip_config import ClipConfig, ClipTextConfig
from mmssr_jax.models.config import FLOAT32, Compute
from mmssr_jax.models.layers import LayerNorm, linear, scan, stack
from mmssr_jax.models.transformer_block import EncoderLayer
from mmssr_jax.models.vit import VisionTower


class ClipText(nnx.Module):
    """Text tower; a text is represented by the normed state of its end token, or of the last position."""

    def __init__(self, config: ClipTextConfig, *, compute: Compute = FLOAT32, rngs: nnx.Rngs):
        self.config, self.compute = config, compute
        init = nnx.initializers.normal(0.02)
        self.embedding = nnx.Param(init(rngs.params(), (config.vocab, config.width)))
        self.position = nnx.Param(init(rngs.params(), (config.length, config.width)))
        self.layers = stack(lambda r: EncoderLayer(config, compute=compute, rngs=r), config.depth, rngs=rngs)
        self.norm = LayerNorm(config.width, eps=config.eps)

    def __call__(self, tokens: jax.Array) -> jax.Array:
        """int32 [B, L] -> [B, D].

        L is at most the config's `length`, and tokens after the end token have no effect. Without an end token, L is
        `length` and padding is part of the text.
        """
        B, L = tokens.shape
        x_BLD = jnp.take(self.embedding[...], tokens, axis=0) + self.position[None, :L]
        visible_until = jnp.full((B, L), L, jnp.int32) if self.config.causal else None
        x_BLD, _ = scan(
            self.layers, lambda layer, x, _: (layer(x, visible_until), None), x_BLD.astype(self.compute.dtype),
            remat=self.compute.remat,
        )  # fmt: skip
        if self.config.end_token is None:
            return self.norm(x_BLD[:, -1])
        end_B = jnp.argmax(tokens == self.config.end_token, axis=1)
        return self.norm(jnp.take_along_axis(x_BLD, end_B[:, None, None], axis=1)[:, 0])


class Clip(nnx.Module):
    """Both towers and the projections into the shared space."""

    def __init__(self, config: ClipConfig, *, compute: Compute = FLOAT32, rngs: nnx.Rngs):
        self.config = config
        self.vision = VisionTower(config.vision, compute=compute, rngs=rngs)
        self.text = ClipText(config.text, compute=compute, rngs=rngs)
        dtype, width = compute.dtype, config.width
        self.text_projection = linear(config.text.width, width, bias=config.siglip, dtype=dtype, rngs=rngs)
        if config.siglip:
            self.logit_scale = nnx.Param(jnp.log(jnp.full(1, 10.0)))
            self.logit_bias = nnx.Param(jnp.full(1, -10.0))
        else:
            self.image_projection = linear(config.vision.width, width, bias=False, dtype=dtype, rngs=rngs)
            self.logit_scale = nnx.Param(jnp.log(jnp.array(1 / 0.07)))

    def embed_images(self, pixels: jax.Array) -> jax.Array:
        """[I, S, S, 3] -> unit vectors, float32 [I, width]."""
        pooled_ID = self.vision.pooled(pixels)
        return _normalize(pooled_ID if self.config.siglip else self.image_projection(pooled_ID))

    def embed_texts(self, tokens: jax.Array) -> jax.Array:
        """int32 [B, L] -> unit vectors, float32 [B, width]."""
        return _normalize(self.text_projection(self.text(tokens)))


def _normalize(x: jax.Array) -> jax.Array:
    x = x.astype(jnp.float32)
    return x / jnp.linalg.norm(x, axis=-1, keepdims=True)
