"""Implementations that run on a CPU against plain loops: trees, packing, padding, grouped heads, gradients."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mmssr_jax.models.attention.api import attend, boolean_mask
from mmssr_jax.models.attention.splash import splash_attention
from mmssr_jax.parallel.mesh import MeshConfig, make_mesh

L, H, K, h = 10, 4, 2, 8
# a prefix of 2 with branches of 2 and 3, then a packed sample of 2, then padding
TREE = [7, 7, 4, 4, 7, 7, 7, 9, 9, 10]
UNTIL = np.array([TREE, [L] * L], np.int32)


def test_the_visibility_rule():
    expected = [
        "x.........",
        "xx........",
        "xxx.......",
        "xxxx......",
        "xx..x.....",
        "xx..xx....",
        "xx..xxx...",
        ".......x..",
        ".......xx.",
        ".........x",
    ]
    found = boolean_mask(UNTIL[:1], 0, L)[0]
    assert ["".join("x" if visible else "." for visible in row) for row in found] == expected


@pytest.fixture(scope="module")
def tensors():
    rng = np.random.default_rng(0)
    return tuple(rng.normal(size=(2, L, n, h)).astype(np.float32) for n in (H, K, K))


def by_loops(q, k, v, visible_until):
    y = np.zeros_like(q)
    for b, i, n in np.ndindex(2, L, H):
        keys = [j for j in range(L) if visible_until is None or j <= i < visible_until[b, j]]
        score = np.array([q[b, i, n] @ k[b, j, n * K // H] for j in keys]) / np.sqrt(h)
        weight = np.exp(score - score.max())
        y[b, i, n] = sum(w * v[b, j, n * K // H] for w, j in zip(weight / weight.sum(), keys, strict=True))
    return y


@pytest.mark.parametrize("visible_until", [UNTIL, None], ids=["tree", "all"])
def test_xla(tensors, visible_until):
    np.testing.assert_allclose(
        attend(*tensors, visible_until=visible_until), by_loops(*tensors, visible_until), atol=1e-5
    )


@pytest.mark.parametrize("visible_until", [UNTIL, None], ids=["tree", "all"])
def test_splash_in_interpret_mode(tensors, visible_until):
    def loss(f):
        def g(q, k, v):
            y = f(q, k, v)
            return jnp.square(y).sum(), y

        return jax.jit(jax.value_and_grad(g, argnums=(0, 1, 2), has_aux=True))

    (_, found), gradients = loss(lambda *x: splash_attention(*x, visible_until, interpret=True))(*tensors)
    (_, expected), expected_gradients = loss(lambda *x: attend(*x, visible_until=visible_until, implementation="xla"))(
        *tensors
    )
    np.testing.assert_allclose(found, expected, atol=1e-5)
    for a, b in zip(gradients, expected_gradients, strict=True):
        np.testing.assert_allclose(a, b, atol=2e-5)


@pytest.mark.parametrize("tensor", [2, 4], ids=["kv heads divide", "kv heads are repeated"])
def test_splash_on_a_mesh(tensors, tensor):
    expected = by_loops(*tensors, UNTIL)
    with jax.set_mesh(make_mesh(MeshConfig(data=2, fsdp=1, tensor=tensor), devices=jax.devices()[: 2 * tensor])):
        found = jax.jit(lambda *x: splash_attention(*x, interpret=True))(*tensors, UNTIL)
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_queries_that_start_at_different_indices(tensors):
    """As with a cache: the queries of row 0 start at index 5, those of row 1 at index 3."""
    q, k, v = tensors
    starts = np.array([5, 3])
    expected = by_loops(q, k, v, UNTIL)
    part = np.stack([q[0, 5:8], q[1, 3:6]])
    found = attend(part, k, v, visible_until=UNTIL, starts=jnp.asarray(starts))
    np.testing.assert_allclose(found, np.stack([expected[0, 5:8], expected[1, 3:6]]), atol=1e-5)
