"""Both dispatches against a reference that computes every expert for every token."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from mmssr_jax.models import module_params
from mmssr_jax.models.config import DecoderConfig, MoEConfig
from mmssr_jax.models.decoder import Decoder
from mmssr_jax.models.moe import moe
from mmssr_jax.models.moe.moe import MoE
from mmssr_jax.parallel.mesh import MeshConfig, make_mesh
from tests.filled import filled_model

B, L, D, F, E = 8, 6, 16, 24, 4
CONFIG = DecoderConfig(
    vocab=20, width=D, depth=4, heads=4, kv_heads=2, mlp=F, moe=MoEConfig(experts=E, top_k=2, every=2)
)


@pytest.fixture(scope="module")
def layer() -> MoE:
    return filled_model(lambda: MoE(CONFIG, dtype=jnp.float32, rngs=nnx.Rngs(0)))


@pytest.fixture(scope="module")
def x() -> np.ndarray:
    return np.random.default_rng(0).normal(size=(B, L, D)).astype(np.float32)


def reference(layer: MoE, x, kept=None):
    """Every expert for every token, in float64 numpy; `kept` [B, L, K] masks choices."""
    scores = x.astype(np.float64) @ np.asarray(layer.router.kernel[...], np.float64)
    p = np.exp(scores - scores.max(-1, keepdims=True))
    p /= p.sum(-1, keepdims=True)
    choice = np.argsort(-p, axis=-1, kind="stable")[..., :2]
    weight = np.take_along_axis(p, choice, -1)
    weight /= weight.sum(-1, keepdims=True)
    if kept is not None:
        weight = weight * kept(choice)
    gate, up, down = (np.asarray(w, np.float64) for w in layer.experts.weights(jnp.float32))
    a = np.einsum("bld,edf->blef", x, gate)
    y = np.einsum("blef,efd->bled", a / (1 + np.exp(-a)) * np.einsum("bld,edf->blef", x, up), down)
    return np.einsum("blk,blkd->bld", weight, np.take_along_axis(y, choice[..., None], 2))


def output(layer: MoE, x) -> np.ndarray:
    """The layer's output, compiled once instead of one operation after the other."""
    return np.asarray(jax.jit(lambda x: layer(x)[0])(x))


def test_dropless_equals_the_dense_reference(layer, x):
    np.testing.assert_allclose(output(layer, x), reference(layer, x), atol=1e-5)


def test_a_tokens_result_does_not_depend_on_other_tokens(layer, x):
    np.testing.assert_array_equal(output(layer, x)[3:4, 2:3], output(layer, x[3:4, 2:3]))


def capped(layer: MoE, capacity: float) -> MoE:
    graphdef, params = module_params.split(layer)
    again = module_params.merge(graphdef, params)
    again.config = dataclasses.replace(layer.config, capacity=capacity)
    return again


def test_enough_capacity_equals_the_dense_reference(layer, x):
    np.testing.assert_allclose(output(capped(layer, 2.0), x), reference(layer, x), atol=1e-5)


def test_capacity_favours_first_choices_and_early_tokens(layer, x):
    """Capacity 0.5 * 2 * 6 / 4 = 1.5, so 2 tokens of a row for each expert."""

    def kept(choice):
        keep = np.zeros(choice.shape)
        for row in range(B):
            room = dict.fromkeys(range(E), 2)
            for k in range(2):
                for token in range(L):
                    expert = choice[row, token, k]
                    keep[row, token, k] = room[expert] > 0
                    room[expert] -= 1
        assert 0 < keep.mean() < 1
        return keep

    np.testing.assert_allclose(output(capped(layer, 0.5), x), reference(layer, x, kept), atol=1e-5)


def test_router_losses():
    even = jnp.zeros((1, 4, 4))
    choice = jnp.array([[[0, 1], [2, 3], [0, 1], [2, 3]]])
    balance, z = moe.router_losses(even, choice)
    np.testing.assert_allclose([balance, z], [1.0, np.log(4) ** 2], rtol=1e-6)
    one = jnp.full((1, 4, 4), -20.0).at[..., 2].set(20.0)
    balance, _ = moe.router_losses(one, jnp.full((1, 4, 1), 2))
    np.testing.assert_allclose(balance, 4.0, rtol=1e-6)


@pytest.mark.parametrize("capacity", [None, 1.0])
@pytest.mark.parametrize("rows", [8, 3], ids=["even", "odd"])
def test_expert_parallel_changes_nothing(capacity, rows, layer, x):
    graphdef, params = module_params.split(layer if capacity is None else capped(layer, capacity))

    def loss(params, x):
        y, losses = module_params.merge(graphdef, params)(x)
        return jnp.square(y).sum() + losses.balance + losses.z, y

    f = jax.jit(jax.value_and_grad(loss, has_aux=True))
    (_, expected), gradient = f(params, x[:rows])
    with jax.set_mesh(make_mesh(MeshConfig(data=1, fsdp=2, tensor=2, expert=2))):
        (_, found), other = f(params, x[:rows])
    np.testing.assert_allclose(found, expected, atol=1e-5)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-4), other, gradient)


def test_upcycling_keeps_the_function():
    dense = filled_model(lambda: Decoder(dataclasses.replace(CONFIG, moe=None), rngs=nnx.Rngs(0)))
    graphdef, target = module_params.abstract(lambda: Decoder(CONFIG, rngs=nnx.Rngs(0)))
    params = moe.upcycle(module_params.split(dense)[1], CONFIG)
    assert jax.tree.map(jnp.shape, params) == jax.tree.map(jnp.shape, target)
    embeddings = jax.random.normal(jax.random.key(0), (2, 5, D))
    positions, visible_until = np.broadcast_to(np.arange(5), (2, 5)), np.full((2, 5), 5)

    def run(decoder: Decoder) -> tuple[jax.Array, jax.Array]:
        return jax.jit(lambda x: decoder.run(x, positions, visible_until))(embeddings)

    hidden, extra = run(module_params.merge(graphdef, params))
    expected, none = run(dense)
    np.testing.assert_allclose(hidden, expected, atol=1e-5)
    assert extra > 0.0
    assert none == 0.0
