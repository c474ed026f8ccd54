"""Blockwise attention against one product: values, gradients, 16 bits, lengths that blocks do not divide."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mmssr_jax.models.attention import blockwise
from mmssr_jax.models.attention.api import _xla


def _tensors(length: int, dtype: jnp.dtype = jnp.float32):
    rng = np.random.default_rng(length)
    return [jnp.asarray(rng.normal(size=(2, length, n, 8)), dtype) for n in (4, 2, 2)]


def _until(length: int) -> jax.Array:
    """Row 0: two packed samples, the second a prefix with two branches, then padding. Row 1: causal."""
    row = np.arange(1, length + 1)
    a, b, c = length // 3, length // 2, length - 5
    row[:a], row[a:b], row[b : b + 4], row[b + 4 : c] = a, c, b + 4, c
    return jnp.asarray(np.stack([row, np.full(length, length)]), jnp.int32)


@pytest.mark.parametrize(("length", "size"), [(24, 128), (24, 8), (29, 8), pytest.param(70, 8, marks=pytest.mark.slow)])
def test_equals_one_product(monkeypatch: pytest.MonkeyPatch, length: int, size: int):
    monkeypatch.setattr(blockwise, "_BLOCK", size)
    visible_until = _until(length)

    def total(attend, *tensors):
        return (attend(*tensors) * jnp.cos(jnp.arange(8))[None, None, None]).sum(), attend(*tensors)

    def run(attend):
        grad = jax.grad(lambda *t: total(attend, *t), argnums=(0, 1, 2), has_aux=True)
        return jax.jit(grad)(*_tensors(length))

    grads, out = run(lambda q, k, v: blockwise.blockwise_attention(q, k, v, visible_until))
    expected_grads, expected = run(lambda q, k, v: _xla(q, k, v, visible_until, 0))
    np.testing.assert_allclose(out, expected, atol=2e-6)
    for grad, other in zip(grads, expected_grads, strict=True):
        np.testing.assert_allclose(grad, other, atol=1e-5)


def test_plain_causal_attention(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(blockwise, "_BLOCK", 8)
    visible_until = jnp.full((2, 29), 29, jnp.int32)

    def run(visible_until):
        def total(*t):
            return (blockwise.blockwise_attention(*t, visible_until) * jnp.cos(jnp.arange(8))[None, None, None]).sum()

        return jax.jit(jax.value_and_grad(total, argnums=(0, 1, 2)))(*_tensors(29))

    for found, expected in zip(jax.tree.leaves(run(None)), jax.tree.leaves(run(visible_until)), strict=True):
        np.testing.assert_allclose(found, expected, atol=1e-5)


def test_sixteen_bits():
    tensors, visible_until = _tensors(30, jnp.bfloat16), _until(30)
    out = jax.jit(blockwise.blockwise_attention)(*tensors, visible_until)
    assert out.dtype == jnp.bfloat16
    expected = _xla(*(t.astype(jnp.float32) for t in tensors), visible_until, 0)
    np.testing.assert_allclose(out.astype(jnp.float32), expected, atol=0.03)


def test_the_number_of_blocks_is_bounded():
    assert [len(list(blockwise.query_blocks(n))) for n in (1, 128, 129, 1024, 5000)] == [1, 1, 2, 8, 8]
    assert list(blockwise.query_blocks(300)) == [(0, 128), (128, 256), (256, 300)]
