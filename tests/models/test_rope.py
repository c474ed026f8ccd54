"""Frequencies against values of transformers 5.23's `ROPE_INIT_FUNCTIONS`, rotation against complex numbers."""

from __future__ import annotations

import numpy as np
import pytest

from mmssr_jax.models import rope
from mmssr_jax.models.config import RopeScaling

LLAMA3 = RopeScaling("llama3", factor=8.0, low=1.0, high=4.0, original_length=8192)


@pytest.mark.parametrize(
    ("theta", "scaling", "expected"),
    [
        (1e4, RopeScaling("linear", 4.0), [0.25, 0.079057, 0.025, 0.0079057, 0.0025, 7.9057e-4, 2.5e-4, 7.9057e-5]),
        (5e5, LLAMA3, [1.0, 0.19392, 0.037606, 0.0072927, 5.2485e-4, 3.4281e-5, 6.6479e-6, 1.2892e-6]),
    ],
    ids=["linear", "llama3"],
)
def test_frequencies(theta, scaling, expected):
    np.testing.assert_allclose(rope.inv_freq(16, theta, scaling), expected, rtol=5e-5)  # the literals have five digits


def test_rotation_is_a_complex_product():
    x = np.random.default_rng(0).normal(size=(1, 3, 2, 8)).astype(np.float32)
    positions = np.array([[0, 5, 1000]])
    turned = rope.apply_rope(x, *rope.rope_cos_sin(positions, head_dim=8, theta=100.0))
    z = (x[..., :4] + 1j * x[..., 4:]) * np.exp(1j * positions[..., None, None] * 100.0 ** (-np.arange(4) / 4))
    np.testing.assert_allclose(turned, np.concatenate([z.real, z.imag], -1), atol=2e-4)
