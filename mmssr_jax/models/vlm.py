"""The vision-language model: tower -> connector -> image tokens merged into the text by position -> decoder.

tokens        1  2  I  I  I  I  N  7  8          I: filled by an image feature, N: by the image newline
image_index  -1 -1  1  2  3  4  0 -1 -1          row of `pack_features`; -1 is text
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from flax import nnx

from mmssr_jax.images.anyres import NEWLINE_ROW as NEWLINE
from mmssr_jax.images.anyres import FeatureIndex, is_image
from mmssr_jax.models.attention.tree import AttentionMask
from mmssr_jax.models.config import VLMConfig
from mmssr_jax.models.connectors import CAbstractor
from mmssr_jax.models.decoder import Decoder
from mmssr_jax.models.layers import MLP
from mmssr_jax.models.packing import gather
from mmssr_jax.models.vit import VisionTower
from mmssr_jax.parallel.rules import constrain_batch


def pack_features(features: jax.Array, newline: jax.Array) -> jax.Array:
    """The rows that `image_index` picks from: the newline at row 0, patch t of image n at row 1 + n * T + t.

    Args:
      features: [N, T, D].
      newline: [D].

    Returns:
      [1 + N * T, D].
    """
    return jnp.concatenate([newline[None].astype(features.dtype), features.reshape(-1, features.shape[-1])])


class VLM(nnx.Module):
    """LLaVA-OneVision's arrangement (arXiv 2408.03326). All methods are pure and take fixed shapes."""

    def __init__(self, config: VLMConfig, *, rngs: nnx.Rngs):
        self.config = config
        dtype = jnp.dtype(config.dtype)
        inputs, width = config.vision.width, config.decoder.width
        self.vision = VisionTower(config.vision, compute=config.compute, rngs=rngs)
        if config.connector.kind == "mlp":
            self.projector: nnx.Module = MLP(inputs, width, width, activation="gelu", dtype=dtype, rngs=rngs)
        else:
            self.projector = CAbstractor(config.connector, inputs, width, compute=config.compute, rngs=rngs)
        self.image_newline = nnx.Param(nnx.initializers.normal(width**-0.5)(rngs.params(), (width,)))
        self.decoder = Decoder(config.decoder, compute=config.compute, rngs=rngs)

    def encode_images(self, pixels: jax.Array) -> jax.Array:
        """Pixels [N, S, S, 3] -> features [N, T, D], row by row; uint8 pixels are normalised.

        T is the config's `image_tokens`: the patches, or what the C-Abstractor makes of them.
        """
        return self.projector(self.vision(pixels))

    def image_features(self, pixels: jax.Array) -> jax.Array:
        """`pack_features` of `encode_images`: [1 + N * T, D]."""
        return pack_features(self.encode_images(pixels), self.image_newline[...])

    def embed(self, tokens: jax.Array, image_features: jax.Array | None, image_index: FeatureIndex) -> jax.Array:
        """The decoder's input.

        Args:
          tokens: int32 [B, L]; what stands where `image_index` is not -1 does not matter.
          image_features: [F, D] as `pack_features` gives; None where there is no image.
          image_index: int32 [B, L], the row of `image_features`, or -1 for text; or a `Blend` of such rows.

        Returns:
          [B, L, D].
        """
        text = self.decoder.embed(tokens)
        if image_features is None:
            return text
        image = gather(lambda at: jnp.take(image_features, jnp.maximum(at, 0), axis=0).astype(text.dtype), image_index)
        return constrain_batch(jnp.where(is_image(image_index)[..., None], image, text))

    def embed_rows(self, tokens: jax.Array, features: jax.Array, image_index: FeatureIndex) -> jax.Array:
        """`embed` for batches whose row b has the images b * N / B onward: no feature crosses rows, hence devices.

        Args:
          tokens: int32 [B, L].
          features: [N, T, D] of `encode_images`; B divides N.
          image_index: as in `embed`.
        """
        text = self.decoder.embed(tokens)
        B, (N, T, D) = len(tokens), features.shape
        features = constrain_batch(features.reshape(B, N // B * T, D)).astype(text.dtype)
        first = 1 + jnp.arange(B)[:, None] * (N // B * T)
        newline = self.image_newline[...].astype(text.dtype)

        def take(at: jax.Array) -> jax.Array:
            own = jnp.clip(at - first, 0, features.shape[1] - 1)
            image = jnp.take_along_axis(features, own[..., None], axis=1)
            return jnp.where((at == NEWLINE)[..., None], newline, image)

        return constrain_batch(jnp.where(is_image(image_index)[..., None], gather(take, image_index), text))

    def decode(self, embeddings: jax.Array, positions: jax.Array, visible_until: AttentionMask) -> jax.Array:
        """Hidden states [B, L, D] after the final norm; `positions`, `until` as in `Decoder.__call__`."""
        return self.decoder(embeddings, positions, visible_until)

    def logits(self, hidden: jax.Array) -> jax.Array:
        """[..., D] -> float32 [..., V]. Gather the positions that are needed before: this is the large product."""
        return self.decoder.logits(hidden)

    def run(
        self,
        tokens: jax.Array,
        pixels: jax.Array | None,
        image_index: FeatureIndex,
        positions: jax.Array,
        visible_until: AttentionMask,
    ) -> tuple[jax.Array, jax.Array]:
        """From tokens and pixels to hidden states [B, L, D] and the routers' loss a token (0 for a dense decoder).

        Args:
          tokens, positions, until: int32 [B, L].
          pixels: [N, S, S, 3], B divides N; row b has the images b * N / B onward. None where there are no images.
          image_index: see `embed`.
        """
        if pixels is None:
            embeddings = self.embed(tokens, None, image_index)
        else:
            embeddings = self.embed_rows(tokens, self.encode_images(pixels), image_index)
        return self.decoder.run(embeddings, positions, visible_until)

    def __call__(
        self,
        tokens: jax.Array,
        pixels: jax.Array | None,
        image_index: FeatureIndex,
        positions: jax.Array,
        visible_until: AttentionMask,
    ) -> jax.Array:
        """`run` without the routers' loss: hidden states [B, L, D]."""
        return self.run(tokens, pixels, image_index, positions, visible_until)[0]
