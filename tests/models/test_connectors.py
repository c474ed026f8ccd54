"""Pooling against torch's values, the block against plain loops, shapes of the connector."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from mmssr_jax.models import module_params, presets
from mmssr_jax.models.config import FLOAT32, ConnectorConfig
from mmssr_jax.models.connectors import CAbstractor, RegBlock, adaptive_pool, depthwise
from mmssr_jax.models.vlm import VLM
from tests.filled import filled_model


def test_pooling_with_cells_that_overlap():
    """torch.nn.functional.adaptive_avg_pool2d(arange(25), 2) and (…, 3)."""
    x = jnp.arange(25.0).reshape(1, 5, 5, 1)
    np.testing.assert_allclose(adaptive_pool(x, 2)[0, ..., 0], [[6, 8], [16, 18]], rtol=1e-6)
    expected = [[3, 4.5, 6], [10.5, 12, 13.5], [18, 19.5, 21]]
    np.testing.assert_allclose(adaptive_pool(x, 3)[0, ..., 0], expected, rtol=1e-6)


def test_the_block_against_loops():
    block = filled_model(lambda: RegBlock(6, 8, dtype=jnp.float32, rngs=nnx.Rngs(0)))
    x = np.random.default_rng(0).normal(size=(2, 4, 5, 6)).astype(np.float32)

    def norm(name, y):
        y = y - y.mean(-1, keepdims=True)
        layer = getattr(block, name)
        return y / np.sqrt((y**2).mean(-1, keepdims=True) + 1e-6) * np.asarray(layer.scale[...]) + np.asarray(
            layer.bias[...]
        )

    def silu(y):
        return y / (1 + np.exp(-y))

    def project(name, y, bias=False):
        layer = getattr(block, name)
        return np.asarray(y) @ np.asarray(layer.kernel[...]) + (np.asarray(layer.bias[...]) if bias else 0)

    y = silu(norm("norm1", project("conv1", x)))
    padded = np.pad(y, ((0, 0), (1, 1), (1, 1), (0, 0)))
    kernel = np.asarray(block.depthwise[...])[:, :, 0]
    y = sum(padded[:, i : i + 4, j : j + 5] * kernel[i, j] for i in range(3) for j in range(3))
    y = silu(norm("norm2", y))
    gate = project("excite", silu(project("squeeze", y.mean((1, 2), keepdims=True), bias=True)), bias=True)
    y = norm("norm3", project("conv3", y / (1 + np.exp(-gate))))
    expected = silu(y + norm("norm_shortcut", project("shortcut", x)))
    np.testing.assert_allclose(jax.jit(block)(x), expected, atol=1e-5)


def test_the_depthwise_convolution_is_that_of_lax():
    rng = np.random.default_rng(1)
    x, kernel = rng.normal(size=(2, 5, 4, 6)).astype(np.float32), rng.normal(size=(3, 3, 6)).astype(np.float32)
    expected = jax.lax.conv_general_dilated(
        x, kernel[:, :, None], (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"), feature_group_count=6
    )
    np.testing.assert_allclose(depthwise(jnp.asarray(x), jnp.asarray(kernel)), expected, atol=1e-5)


def test_any_grid_is_pooled_to_the_configured_tokens():
    sizes = ConnectorConfig("c_abstractor", tokens=9, width=8, depth=2)
    connector = filled_model(lambda: CAbstractor(sizes, 6, 10, compute=FLOAT32, rngs=nnx.Rngs(0)))
    for patches in (49, 64):
        assert jax.eval_shape(connector, jnp.zeros((2, patches, 6))).shape == (2, 9, 10)


def test_a_vlm_with_the_c_abstractor(config):
    config = dataclasses.replace(config, connector=ConnectorConfig("c_abstractor", tokens=1, width=8, depth=2))
    assert config.image_tokens == 1
    features = jax.eval_shape(lambda: VLM(config, rngs=nnx.Rngs(0)).encode_images(jnp.zeros((3, 8, 8, 3))))
    assert features.shape == (3, 1, config.decoder.width)


def test_mm15_views_are_144_tokens():
    config = presets.preset("mm15_1b")
    graphdef, params = module_params.abstract(lambda: VLM(config, rngs=nnx.Rngs(0)))
    pixels = jax.ShapeDtypeStruct((2, 672, 672, 3), jnp.uint8)
    features = jax.eval_shape(lambda p, x: module_params.merge(graphdef, p).encode_images(x), params, pixels)
    assert features.shape == (2, 144, 2048)
