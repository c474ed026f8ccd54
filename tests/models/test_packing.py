"""Tile features to tokens."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np

from mmssr_jax.images.anyres import AnyresSpec, anyres_layout, feature_index
from mmssr_jax.models.packing import resample


def test_resample_places_features_and_newlines():
    """A 4 x 8 picture on a 1 x 2 grid of 4 x 4 tiles with patches of 2: newline -1, base 0..3, tiles 4..7 and 8..11."""
    spec = AnyresSpec(tile=4, patch=2, grids=((1, 1), (1, 2), (2, 1)))
    features = jnp.array([-1, *range(12)], jnp.float32)[:, None]
    rows, weights = feature_index(anyres_layout(4, 8, spec))
    expected = [0, 1, 2, 3, 4, 5, 8, 9, -1, 6, 7, 10, 11, -1]
    np.testing.assert_array_equal(resample(features, rows, weights)[:, 0], expected)


def test_shrinking_keeps_the_mean():
    spec = AnyresSpec(tile=8, patch=2, grids=((2, 2),), max_tiles=1)
    layout = anyres_layout(16, 16, spec)
    assert layout.shrunk == (4, 4)
    features = jnp.concatenate([jnp.zeros((1, 1)), jnp.arange(80.0)[:, None]])
    tokens = resample(features, *feature_index(layout))[16:, 0].reshape(4, 5)
    np.testing.assert_allclose(tokens[:, :4].mean(), np.arange(16, 80).mean(), rtol=1e-6)
    np.testing.assert_array_equal(tokens[:, 4], 0)
