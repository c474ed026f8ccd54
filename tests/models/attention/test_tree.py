"""Attention of prefix and tree in parts equals attention with the dense mask."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mmssr_jax.models.attention import api
from mmssr_jax.models.attention.api import boolean_mask
from mmssr_jax.models.attention.blockwise import blockwise_attention
from mmssr_jax.models.attention.splash import splash_attention
from mmssr_jax.models.attention.tree import PrefixTreeMask

TREE = (6, 3, 3, 6, 5, 6)  # q, a a, b (b1, b2)


def attend(*tensors: jax.Array, visible_until: PrefixTreeMask | jax.Array) -> jax.Array:
    """`api.attend`, compiled once instead of one operation after the other."""
    return jax.jit(lambda *t: api.attend(*t, visible_until=visible_until, implementation="xla"))(*tensors)


def dense_visible_until(mask: PrefixTreeMask) -> jax.Array:
    """The same mask as one integer per token, int32 [B, room + tree] (see `attention.api`)."""
    index = jnp.arange(mask.room)[None]
    end = mask.room + len(mask.visible_until)
    prefix = jnp.where(index < mask.lengths[:, None], end, index + 1)
    tree = jnp.broadcast_to(jnp.asarray(mask.visible_until) + mask.room, (len(mask.lengths), len(mask.visible_until)))
    return jnp.concatenate([prefix, tree], axis=1).astype(jnp.int32)


def _tensors(length: int, *, rows: int = 2, heads: int = 4, kv_heads: int = 2, size: int = 8):
    keys = jax.random.split(jax.random.key(0), 3)
    shapes = [(rows, length, n, size) for n in (heads, kv_heads, kv_heads)]
    return [jax.random.normal(k, s) for k, s in zip(keys, shapes, strict=True)]


def test_the_masks():
    tree = PrefixTreeMask(jnp.array([1, 2]), 2, (3, 2, 3))
    assert dense_visible_until(tree).tolist() == [[5, 2, 5, 4, 5], [5, 5, 5, 4, 5]]
    expected = ["x.x..", "x.xx.", "x.x.x"]
    assert tree.tree_visibility()[0].tolist() == [[c == "x" for c in row] for row in expected]
    np.testing.assert_array_equal(tree.tree_visibility(), boolean_mask(dense_visible_until(tree), 2, 3))


@pytest.mark.parametrize("room", [5, 128, 300], ids=["one block", "whole blocks", "a remainder"])
def test_equals_the_dense_mask(room):
    q, k, v = _tensors(room + len(TREE))
    tree = PrefixTreeMask(jnp.array([room, 3]), room, TREE)
    found = attend(q, k, v, visible_until=tree)
    expected = attend(q, k, v, visible_until=dense_visible_until(tree))
    np.testing.assert_allclose(found[0], expected[0], atol=1e-5)
    valid = np.r_[:3, room : room + len(TREE)]  # positions of padding are not compared
    np.testing.assert_allclose(found[1, valid], expected[1, valid], atol=1e-5)


def test_values_of_padding_have_no_effect():
    q, k, v = _tensors(8 + len(TREE))
    tree = PrefixTreeMask(jnp.array([8, 3]), 8, TREE)
    noise = [x.at[1, 3:8].set(9.0) for x in (q, k, v)]
    valid = np.r_[:3, 8 : 8 + len(TREE)]
    np.testing.assert_array_equal(
        attend(*noise, visible_until=tree)[1, valid], attend(q, k, v, visible_until=tree)[1, valid]
    )


def test_sixteen_bits():
    tensors = [x.astype(jnp.bfloat16) for x in _tensors(200 + len(TREE))]
    tree = PrefixTreeMask(jnp.array([200, 150]), 200, TREE)
    found = attend(*tensors, visible_until=tree)
    assert found.dtype == jnp.bfloat16
    exact = attend(*(x.astype(jnp.float32) for x in tensors), visible_until=dense_visible_until(tree))
    np.testing.assert_allclose(found[0].astype(jnp.float32), exact[0], atol=0.03)


def test_the_causal_kernel_of_the_prefix():
    q, k, v = _tensors(140)
    found = jax.jit(lambda *t: splash_attention(*t, None, causal=True, interpret=True))(q, k, v)
    expected = jax.jit(lambda *t: blockwise_attention(*t, None))(q, k, v)
    np.testing.assert_allclose(found, expected, atol=1e-5)
