"""Merging image features into token embeddings by index: one feature per token, or a weighted sum of four.

`images.anyres` defines the index; row b of a batch reads only the features of its images:

    row b     newline | features of image b * I/B | ... | features of image (b + 1) * I/B - 1
    index        0       1 + b * I/B * T ...
"""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp

from mmssr_jax.images.anyres import NEWLINE_INDEX, TEXT_INDEX, FeatureIndex, WeightedIndex, is_image
from mmssr_jax.parallel.rules import constrain_batch


def merge_images(
    text_BLD: jax.Array, features_ITD: jax.Array, newline_D: jax.Array, image_index: FeatureIndex
) -> jax.Array:
    """Token embeddings [B, L, D] in which image tokens are replaced by their features.

    Features are gathered within a row, so that none crosses rows and hence devices.

    Args:
      text_BLD: [B, L, D], embeddings of all tokens; those of image tokens are ignored.
      features_ITD: [I, T, D], where B divides I; row b has the images b * I/B ... (b + 1) * I/B - 1.
      newline_D: [D], the feature of the image newline.
      image_index: int32 [B, L]: 0 the newline, 1 + i * T + t feature t of image i, -1 text; or a `WeightedIndex` of
        such rows, [B, L, 4].
    """
    B, (images, T, D) = len(text_BLD), features_ITD.shape
    per_row = images // B * T
    features_BTD = constrain_batch(features_ITD.reshape(B, per_row, D)).astype(text_BLD.dtype)
    first_B1 = 1 + jnp.arange(B)[:, None] * per_row
    newline_D = newline_D.astype(text_BLD.dtype)

    def take(index_BL: jax.Array) -> jax.Array:
        in_row_BL = jnp.clip(index_BL - first_B1, 0, per_row - 1)
        image_BLD = jnp.take_along_axis(features_BTD, in_row_BL[..., None], axis=1)
        return jnp.where((index_BL == NEWLINE_INDEX)[..., None], newline_D, image_BLD)

    image_BLD = gather(take, image_index)
    return constrain_batch(jnp.where(is_image(image_index)[..., None], image_BLD, text_BLD))


def gather(take: Callable[[jax.Array], jax.Array], index: FeatureIndex) -> jax.Array:
    """The feature of each token, [..., D].

    Args:
      take: maps an index, int32 [...], to features [..., D]; its result for -1 is ignored.
      index: int32 [...] or a `WeightedIndex` [..., 4], whose features are summed in float32.
    """
    if not isinstance(index, WeightedIndex):
        return take(index)
    parts = [take(index.indices[..., n]) for n in range(4)]
    total = sum(index.weights[..., n, None] * part.astype(jnp.float32) for n, part in enumerate(parts))
    return jnp.asarray(total, parts[0].dtype)


def with_text(index: FeatureIndex, count: int) -> FeatureIndex:
    """The index [B, L] of a batch with `count` text tokens appended to each row, [B, L + count]."""
    if isinstance(index, WeightedIndex):
        padding = ((0, 0), (0, count), (0, 0))
        return WeightedIndex(
            jnp.pad(index.indices, padding, constant_values=TEXT_INDEX), jnp.pad(index.weights, padding)
        )
    return jnp.pad(index, ((0, 0), (0, count)), constant_values=TEXT_INDEX)
