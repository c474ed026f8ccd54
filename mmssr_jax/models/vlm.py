"""The vision-language model: vision tower -> connector -> image features merged into the text by index -> decoder.

tokens        1  2  I  I  I  I  N  7  8          I: replaced by an image feature, N: by the image newline
image_index  -1 -1  1  2  3  4  0 -1 -1          see `packing.merge_images`; -1 is text
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from flax import nnx

from mmssr_jax.images.anyres import FeatureIndex
from mmssr_jax.models.attention.tree import AttentionMask
from mmssr_jax.models.config import VLMConfig
from mmssr_jax.models.connectors import CAbstractor
from mmssr_jax.models.decoder import Decoder
from mmssr_jax.models.layers import MLP
from mmssr_jax.models.packing import merge_images
from mmssr_jax.models.vit import VisionTower


class VLM(nnx.Module):
    """The architecture of LLaVA-OneVision (arXiv 2408.03326). All methods are pure functions of fixed shapes."""

    def __init__(self, config: VLMConfig, *, rngs: nnx.Rngs):
        self.config = config
        dtype = jnp.dtype(config.dtype)
        in_features, width = config.vision.width, config.decoder.width
        self.vision = VisionTower(config.vision, compute=config.compute, rngs=rngs)
        if config.connector.kind == "mlp":
            self.projector: nnx.Module = MLP(in_features, width, width, activation="gelu", dtype=dtype, rngs=rngs)
        else:
            self.projector = CAbstractor(config.connector, in_features, width, compute=config.compute, rngs=rngs)
        self.image_newline = nnx.Param(nnx.initializers.normal(width**-0.5)(rngs.params(), (width,)))
        self.decoder = Decoder(config.decoder, compute=config.compute, rngs=rngs)

    def encode_images(self, pixels: jax.Array) -> jax.Array:
        """Pixels [I, S, S, 3] -> features [I, T, D], row by row; uint8 pixels are normalised.

        T is the config's `image_tokens`: the patches, or what the C-Abstractor pools them to.
        """
        return self.projector(self.vision(pixels))

    def embed(self, tokens: jax.Array, pixels: jax.Array | None, image_index: FeatureIndex) -> jax.Array:
        """The decoder's input, [B, L, D].

        Args:
          tokens: int32 [B, L]; ignored where `image_index` is not -1.
          pixels: [I, S, S, 3], where B divides I; row b has the images b * I/B ... (b + 1) * I/B - 1. None or I = 0
            for a batch without images.
          image_index: int32 [B, L] or a `WeightedIndex`, see `packing.merge_images`.
        """
        text_BLD = self.decoder.embed(tokens)
        if pixels is None or not pixels.shape[0]:
            return text_BLD
        return merge_images(text_BLD, self.encode_images(pixels), self.image_newline[...], image_index)

    def decode(self, embeddings: jax.Array, positions: jax.Array, visible_until: AttentionMask) -> jax.Array:
        """Hidden states [B, L, D] after the final norm; arguments as of `Decoder.run`."""
        return self.decoder(embeddings, positions, visible_until)

    def logits(self, hidden: jax.Array) -> jax.Array:
        """[..., D] -> float32 [..., V]. Gather the needed positions first: this is the largest matrix product."""
        return self.decoder.logits(hidden)

    def run(
        self,
        tokens: jax.Array,
        pixels: jax.Array | None,
        image_index: FeatureIndex,
        positions: jax.Array,
        visible_until: AttentionMask,
    ) -> tuple[jax.Array, jax.Array]:
        """Hidden states [B, L, D] and the router loss per token, float32 [] (0 for a dense decoder).

        Args:
          tokens, pixels, image_index: see `embed`.
          positions: int32 [B, L].
          visible_until: int32 [B, L], see `attention.api`; or a `PrefixTreeMask`.
        """
        return self.decoder.run(self.embed(tokens, pixels, image_index), positions, visible_until)

    def __call__(
        self,
        tokens: jax.Array,
        pixels: jax.Array | None,
        image_index: FeatureIndex,
        positions: jax.Array,
        visible_until: AttentionMask,
    ) -> jax.Array:
        """`run` without the router loss: hidden states [B, L, D]."""
        return self.run(tokens, pixels, image_index, positions, visible_until)[0]
