"""The vision-language model: vision tower -> connector -> image features merged into the text by index -> decoder.

tokens        1  2  I  I  I  I  N  7  8          I: replaced by an image feature, N: by the image newline
image_index  -1 -1  1  2  3  4  0 -1 -1          see `packing.merge_images`; -1 is text
"""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
from flax import nnx

from mmssr_jax.images.anyres import FeatureIndex
from mmssr_jax.images.image_blocks import ImageBlocks, Pixels, count
from mmssr_jax.models.attention.tree import AttentionMask
from mmssr_jax.models.config import VLMConfig
from mmssr_jax.models.connectors import CAbstractor
from mmssr_jax.models.decoder import Decoder
from mmssr_jax.models.layers import MLP
from mmssr_jax.models.native_vit import DeepstackMerger, NativeVisionTower
from mmssr_jax.models.packing import merge_images
from mmssr_jax.models.visual_embeddings import Embeddings, merge_blocks
from mmssr_jax.models.vit import VisionTower


class VLM(nnx.Module):
    """The architecture of LLaVA-1.5, LLaVA-OneVision and Qwen3-VL (arXiv 2310.03744, 2408.03326, 2511.21631).

    All methods are pure functions of fixed shapes.
    """

    def __init__(self, config: VLMConfig, *, rngs: nnx.Rngs):
        self.config = config
        dtype = jnp.dtype(config.dtype)
        in_features, width = config.vision.width, config.decoder.width
        native = config.vision.native is not None
        tower: Callable[..., VisionTower | NativeVisionTower] = NativeVisionTower if native else VisionTower
        self.vision = tower(config.vision, compute=config.compute, rngs=rngs)
        if config.connector.kind == "merger":
            self.projector: nnx.Module = DeepstackMerger(config.vision, width, compute=config.compute, rngs=rngs)
        elif config.connector.kind == "mlp":
            self.projector = MLP(in_features, width, width, activation="gelu", dtype=dtype, rngs=rngs)
        else:
            self.projector = CAbstractor(config.connector, in_features, width, compute=config.compute, rngs=rngs)
        if config.image_newline:
            self.image_newline = nnx.Param(nnx.initializers.normal(width**-0.5)(rngs.params(), (width,)))
        self.decoder = Decoder(config.decoder, compute=config.compute, rngs=rngs)

    def encode_images(self, pixels: Pixels, *, rows: int = 1) -> jax.Array:
        """Pixels [I, S, S, 3] -> features [I, T, D], row by row; uint8 pixels are normalised.

        T is the config's `image_tokens`: the patches, or what the C-Abstractor pools them to. `ImageBlocks`, M of them
        in `rows` rows, become features [1 + K, M, D]: those of the last layer, then the K DeepStack features.
        """
        if isinstance(self.vision, NativeVisionTower):
            return self.projector(self.vision(pixels, rows=rows))
        return self.projector(self.vision(pixels))

    def embed(self, tokens: jax.Array, pixels: Pixels | None, image_index: FeatureIndex) -> Embeddings:
        """The decoder's input, [B, L, D].

        Args:
          tokens: int32 [B, L]; ignored where `image_index` is not -1.
          pixels: [I, S, S, 3], where B divides I; row b has the images b * I/B ... (b + 1) * I/B - 1. None or I = 0
            for a batch without images. Or `ImageBlocks`, which are split over the rows in the same way.
          image_index: int32 [B, L] or a `WeightedIndex`, see `packing.merge_images`.
        """
        text_BLD = self.decoder.embed(tokens)
        if pixels is None or not count(pixels):
            return text_BLD
        if isinstance(pixels, ImageBlocks):
            features_KMD = self.encode_images(pixels, rows=len(tokens))
            return merge_blocks(text_BLD, features_KMD, pixels.place, image_index)
        newline_D = self.image_newline[...] if self.config.image_newline else jnp.zeros(text_BLD.shape[-1])
        return merge_images(text_BLD, self.encode_images(pixels), newline_D, image_index)

    def decode(self, embeddings: Embeddings, positions: jax.Array, visible_until: AttentionMask) -> jax.Array:
        """Hidden states [B, L, D] after the final norm; arguments as in `Decoder.run`."""
        return self.decoder(embeddings, positions, visible_until)

    def logits(self, hidden: jax.Array) -> jax.Array:
        """[..., D] -> float32 [..., V]. Gather the needed positions first: this is the largest matrix product."""
        return self.decoder.logits(hidden)

    def run(
        self,
        tokens: jax.Array,
        pixels: Pixels | None,
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
        pixels: Pixels | None,
        image_index: FeatureIndex,
        positions: jax.Array,
        visible_until: AttentionMask,
    ) -> jax.Array:
        """`run` without the router loss: hidden states [B, L, D]."""
        return self.run(tokens, pixels, image_index, positions, visible_until)[0]
