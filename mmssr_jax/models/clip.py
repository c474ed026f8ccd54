"""CLIP (arXiv 2103.00020) and SigLIP (arXiv 2303.15343): a picture and a text as two unit vectors.

Their product says how well the two go together.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from flax import nnx

from mmssr_jax.models.config import FLOAT32, ClipConfig, ClipTextConfig, Compute
from mmssr_jax.models.layers import LayerNorm, linear, scan, stack
from mmssr_jax.models.transformer_block import EncoderLayer
from mmssr_jax.models.vit import VisionTower


class ClipText(nnx.Module):
    """A text is the final-normed state of its end token, or of the last place."""

    def __init__(self, config: ClipTextConfig, *, compute: Compute = FLOAT32, rngs: nnx.Rngs):
        self.config, self.compute = config, compute
        init = nnx.initializers.normal(0.02)
        self.embedding = nnx.Param(init(rngs.params(), (config.vocab, config.width)))
        self.position = nnx.Param(init(rngs.params(), (config.length, config.width)))
        self.layers = stack(lambda r: EncoderLayer(config, compute=compute, rngs=r), config.depth, rngs=rngs)
        self.norm = LayerNorm(config.width, eps=config.eps)

    def __call__(self, tokens: jax.Array) -> jax.Array:
        """int32 [B, L] -> [B, D].

        L is at most the config's `length`, and what follows the end token has no effect; without an end token L is
        `length`, and the padding belongs to the text.
        """
        B, L = tokens.shape
        x = jnp.take(self.embedding[...], tokens, axis=0) + self.position[:L]
        visible_until = jnp.full((B, L), L, jnp.int32) if self.config.causal else None
        x, _ = scan(
            self.layers, lambda layer, x, _: (layer(x, visible_until), None), x.astype(self.compute.dtype),
            remat=self.compute.remat,
        )  # fmt: skip
        if self.config.end_token is None:
            return self.norm(x[:, -1])
        end = jnp.argmax(tokens == self.config.end_token, axis=1)
        return self.norm(jnp.take_along_axis(x, end[:, None, None], axis=1)[:, 0])


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
        """[N, S, S, 3] -> unit vectors [N, width], float32."""
        pooled = self.vision.pooled(pixels)
        return _unit(pooled if self.config.siglip else self.image_projection(pooled))

    def embed_texts(self, tokens: jax.Array) -> jax.Array:
        """int32 [B, L] -> unit vectors [B, width], float32."""
        return _unit(self.text_projection(self.text(tokens)))


def _unit(x: jax.Array) -> jax.Array:
    x = x.astype(jnp.float32)
    return x / jnp.linalg.norm(x, axis=-1, keepdims=True)
