"""Patches, pixels, interpolated positions."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest

from mmssr_jax.models.vit import normalise, patches, resize_positions


def test_patches_are_row_by_row_without_the_remainder():
    image = jnp.arange(5 * 5 * 3).reshape(1, 5, 5, 3)
    cut = patches(image, 2)
    assert cut.shape == (1, 4, 12)
    np.testing.assert_array_equal(cut[0, 1].reshape(2, 2, 3), image[0, :2, 2:4])
    np.testing.assert_array_equal(cut[0, 2].reshape(2, 2, 3), image[0, 2:4, :2])


def test_normalise_is_per_channel():
    found = normalise(jnp.array([[0, 255, 51]], jnp.uint8), mean=(0.5, 0.5, 0.1), std=(0.5, 0.25, 0.1))
    np.testing.assert_allclose(found, [[-1.0, 2.0, 1.0]], atol=1e-6)


# torch.nn.functional.interpolate(..., mode="bicubic", align_corners=False) of SQUARE
SQUARE = [[1, 2, 3], [4, -5, 6], [7, 8, 9]]
FOUR = [
    [0.6614, 1.8524, 2.7929, 2.8049],
    [3.0556, -2.4985, -1.5581, 5.1991],
    [5.8768, 0.3228, 1.2632, 8.0204],
    [7.0920, 8.2831, 9.2235, 9.2356],
]
TWO = [[1.0807, 2.6978], [5.9322, 7.5494]]


@pytest.mark.parametrize(("side", "expected"), [(4, FOUR), (2, TWO), (3, SQUARE)])
def test_positions_as_torch_interpolates_them(side, expected):
    position = jnp.array(SQUARE, jnp.float32).reshape(9, 1)
    found = resize_positions(position, side=side, class_token=False)
    np.testing.assert_allclose(found.reshape(side, side), expected, atol=1e-4)


def test_the_class_tokens_position_stays():
    position = jnp.concatenate([jnp.full((1, 2), 7.0), jnp.ones((4, 2))])
    found = resize_positions(position, side=3, class_token=True)
    np.testing.assert_allclose(found[0], 7.0)
    np.testing.assert_allclose(found[1:], np.ones((9, 2)), atol=1e-6)
