"""A decoder's input with more than one vector per token: DeepStack features and places on an image's grid (Qwen3-VL).

tokens        [B, L, D]       embeddings, image features merged in
deepstack     [K + 1, B, L, D]   feature k is added to the output of layer k; the last is 0, for all other layers
offsets       [B, L, 2]       row and column of an image token on its grid, 0 for text; MRoPE adds them to the
                              position for its height and width axes
"""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp

from mmssr_jax.images.anyres import is_image
from mmssr_jax.images.image_blocks import COLUMN, ROW, sequence_positions
from mmssr_jax.parallel.rules import constrain_batch


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class VisualEmbeddings:
    """See the module.

    Attributes:
      tokens: [B, L, D].
      deepstack: [K + 1, B, L, D].
      offsets: int32 [B, L, 2].
      positions: int32 [B, L], of rows that are one sequence each; packed rows and prompt trees have their own.
    """

    tokens: jax.Array
    deepstack: jax.Array
    offsets: jax.Array
    positions: jax.Array

    @property
    def shape(self) -> tuple[int, ...]:
        """(B, L, D)."""
        return self.tokens.shape

    @property
    def dtype(self) -> Any:
        return self.tokens.dtype

    def on_axes(self, positions: jax.Array) -> jax.Array:
        """Positions [B, L] on the axes time, height and width, int32 [B, L, 3]."""
        return jnp.concatenate([positions[..., None], positions[..., None] + self.offsets], axis=-1)

    def after_layer(self, layer: jax.Array) -> jax.Array:
        """What is added to the output of a layer, [B, L, D]."""
        return self.deepstack[jnp.minimum(layer, len(self.deepstack) - 1)]


Embeddings = jax.Array | VisualEmbeddings
"""What a decoder accepts as its input: [B, L, D], or `VisualEmbeddings` of that shape."""


def sequential_positions(embeddings: Embeddings) -> jax.Array:
    """Positions of rows that are one sequence each, int32 [B, L]."""
    if isinstance(embeddings, VisualEmbeddings):
        return embeddings.positions
    B, L, _ = embeddings.shape
    return jnp.broadcast_to(jnp.arange(L), (B, L))


def chunks(embeddings: Embeddings, size: int) -> Embeddings:
    """Inputs [B, L, D] split into stretches of `size` tokens along a new leading axis: [L / size, B, size, D]."""

    def split(x: jax.Array, axis: int) -> jax.Array:
        shape = (*x.shape[:axis], -1, size, *x.shape[axis + 1 :])
        return jnp.moveaxis(x.reshape(shape), axis, 0)

    if isinstance(embeddings, VisualEmbeddings):
        e = embeddings
        return VisualEmbeddings(split(e.tokens, 1), split(e.deepstack, 2), split(e.offsets, 1), split(e.positions, 1))
    return split(embeddings, 1)


def next_positions(positions: jax.Array, lengths: jax.Array) -> jax.Array:
    """The position after the last of each row's `lengths` [B] tokens at `positions` [B, L], int32 [B].

    A prompt ends in text: an image is followed by at least the mark of its end.
    """
    return jnp.take_along_axis(positions, (lengths - 1)[:, None], axis=1)[:, 0] + 1


def merge_blocks(
    text_BLD: jax.Array, features_KMD: jax.Array, place_M5: jax.Array, image_index: jax.Array
) -> VisualEmbeddings:
    """Token embeddings in which image tokens are replaced by the features of their blocks.

    As in `packing.merge_images`, features are gathered within a row, so that none crosses rows and hence devices.

    Args:
      text_BLD: [B, L, D], embeddings of all tokens; those of image tokens are ignored.
      features_KMD: [1 + K, M, D], the features of the blocks, then their K DeepStack features; B divides M, and row b
        has the blocks b * M/B ... (b + 1) * M/B - 1.
      place_M5: int32 [M, 5], see `images.image_blocks`.
      image_index: int32 [B, L]: 1 + m for block m, -1 text.
    """
    B, L, D = text_BLD.shape
    per_row = len(place_M5) // B
    at_BL = jnp.clip(image_index - 1 - jnp.arange(B)[:, None] * per_row, 0, per_row - 1)
    image_BL = is_image(image_index)

    def of_tokens(values_MX: jax.Array) -> jax.Array:
        values_BMX = constrain_batch(values_MX.reshape(B, per_row, -1))
        return jnp.where(image_BL[..., None], jnp.take_along_axis(values_BMX, at_BL[..., None], axis=1), 0)

    place_BL5 = of_tokens(place_M5)
    merged, *deepstack = (of_tokens(features_MD.astype(text_BLD.dtype)) for features_MD in features_KMD)
    return VisualEmbeddings(
        tokens=constrain_batch(jnp.where(image_BL[..., None], merged, text_BLD)),
        deepstack=jnp.stack([*deepstack, jnp.zeros((B, L, D), text_BLD.dtype)]),
        offsets=place_BL5[..., ROW : COLUMN + 1],
        positions=sequence_positions(image_BL, place_BL5),
    )
