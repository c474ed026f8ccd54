"""Merging tile features into tokens."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np

from mmssr_jax.images.anyres import AnyresSpec, WeightedIndex, anyres_layout, feature_index
from mmssr_jax.models.packing import merge_images


def image_tokens(features: np.ndarray, newline: float, index: WeightedIndex) -> np.ndarray:
    """The tokens [M] of one image, from features [I, T] of its tiles."""
    text = jnp.zeros((1, len(index.indices), 1))
    index = WeightedIndex(index.indices[None], index.weights[None])
    return np.asarray(merge_images(text, jnp.asarray(features)[..., None], jnp.array([newline]), index))[0, :, 0]


def test_features_and_newlines_are_placed():
    """A 4 x 8 image on a 1 x 2 grid of 4 x 4 tiles with patches of 2: newline -1, base 0..3, tiles 4..7 and 8..11."""
    spec = AnyresSpec(tile=4, patch=2, grids=((1, 1), (1, 2), (2, 1)))
    features = np.arange(12, dtype=np.float32).reshape(3, 4)
    expected = [0, 1, 2, 3, 4, 5, 8, 9, -1, 6, 7, 10, 11, -1]
    np.testing.assert_array_equal(image_tokens(features, -1.0, feature_index(anyres_layout(4, 8, spec))), expected)


def test_shrinking_keeps_the_mean():
    spec = AnyresSpec(tile=8, patch=2, grids=((2, 2),), max_tiles=1)
    layout = anyres_layout(16, 16, spec)
    assert layout.downsampled == (4, 4)
    tokens = image_tokens(np.arange(80, dtype=np.float32).reshape(5, 16), 0.0, feature_index(layout))[16:].reshape(4, 5)
    np.testing.assert_allclose(tokens[:, :4].mean(), np.arange(16, 80).mean(), rtol=1e-6)
    np.testing.assert_array_equal(tokens[:, 4], 0)
