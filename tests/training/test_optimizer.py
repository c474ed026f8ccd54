"""Learning rates, freezing and decay by patterns, on numbers one can check by hand."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mmssr_jax.core.errors import UserError
from mmssr_jax.training.optimizer import OptimizerConfig, make_optimizer, schedule
from mmssr_jax.training.state import combine, init_opt_state, partition

PARAMS = {
    "vision": {"fc": {"kernel": jnp.ones((2, 2)), "bias": jnp.ones(2)}},
    "decoder": {"fc": {"kernel": jnp.ones((2, 2))}},
}


def _updates(config: OptimizerConfig, grads=None, steps: int = 1000):
    tx = make_optimizer(config, PARAMS, steps=steps)
    state = init_opt_state(tx, PARAMS, config.frozen)
    trained, frozen = partition(PARAMS, config.frozen)
    grads, _ = partition(grads or jax.tree.map(jnp.ones_like, PARAMS), config.frozen)
    _, state = tx.update(grads, state, trained)  # the first step has rate 0
    updates, _ = tx.update(grads, state, trained)
    return combine(updates, jax.tree.map(jnp.zeros_like, frozen)), state


def test_rate_rises_then_falls():
    rate = schedule(OptimizerConfig(learning_rate=1.0, warmup=0.1, final=0.2), 100)
    assert [round(float(rate(s)), 4) for s in (0, 5, 10, 55, 100)] == [0.0, 0.5, 1.0, 0.6, 0.2]


@pytest.mark.parametrize(("warmup", "steps", "rates"), [
    (0.0, 1, [1.0]),
    (0.0, 4, [1.0, 0.8828, 0.6, 0.3172]),  # 0.6 + 0.4 cos(pi s / 4)
    (0.1, 4, [1.0, 0.8828, 0.6, 0.3172]),  # 0.4 steps
    (0.25, 4, [0.0, 1.0, 0.8, 0.4]),  # one step, 0.6 + 0.4 cos(pi (s - 1) / 3)
    (0.5, 1, [1.0]),  # half a step
    (0.9, 1, [0.0]),
])  # fmt: skip
def test_a_warm_up_of_no_step_starts_at_the_peak(warmup, steps, rates):
    rate = schedule(OptimizerConfig(learning_rate=1.0, warmup=warmup, final=0.2), steps)
    assert [round(float(rate(s)), 4) for s in range(steps)] == rates


def test_one_step_trains():
    tx = make_optimizer(OptimizerConfig(learning_rate=0.1, clip=0.0), PARAMS, steps=1)
    updates, _ = tx.update(jax.tree.map(jnp.ones_like, PARAMS), tx.init(PARAMS), PARAMS)
    np.testing.assert_allclose(np.asarray(updates["decoder"]["fc"]["kernel"]), -0.1, rtol=1e-6)


def test_first_matching_pattern_scales_the_rate():
    config = OptimizerConfig(learning_rate=0.1, warmup=0.01, clip=0.0, rates={"^vision": 0.2, "kernel$": 5.0})
    updates, _ = _updates(config)
    vision, decoder = updates["vision"]["fc"], updates["decoder"]["fc"]["kernel"]
    np.testing.assert_allclose(np.asarray(vision["kernel"]) / np.asarray(decoder), 0.2 / 5.0, rtol=1e-5)
    np.testing.assert_allclose(np.asarray(vision["kernel"]).max(), np.asarray(vision["bias"]).max(), rtol=1e-5)


def test_frozen_parameters_do_not_move_and_take_no_memory():
    updates, state = _updates(OptimizerConfig(freeze=("^vision",)))
    assert float(jnp.abs(updates["vision"]["fc"]["kernel"]).max()) == 0
    assert float(jnp.abs(updates["decoder"]["fc"]["kernel"]).max()) > 0
    moments = sum(leaf.size for leaf in jax.tree.leaves(state) if getattr(leaf, "ndim", 0) == 2)
    assert moments == 2 * 4  # two moments of the decoder's kernel alone


def test_decay_is_for_matrices():
    zero = jax.tree.map(jnp.zeros_like, PARAMS)
    updates, _ = _updates(OptimizerConfig(learning_rate=0.1, warmup=0.001, weight_decay=0.5), grads=zero)
    assert float(updates["vision"]["fc"]["bias"].max()) == 0
    np.testing.assert_allclose(np.asarray(updates["vision"]["fc"]["kernel"]), -0.05, rtol=1e-3)


def test_pattern_that_matches_nothing_is_named():
    with pytest.raises(UserError, match=r"'\^visoin' matches no parameter"):
        make_optimizer(OptimizerConfig(freeze=("^visoin",)), PARAMS, steps=10)


def test_muon_makes_singular_values_alike_layer_by_layer():
    rng = np.random.default_rng(0)
    grads = {
        "layers": {
            "fc": {"kernel": rng.normal(size=(2, 4, 6)).astype(np.float32), "bias": np.ones((2, 6), np.float32)}
        },
        "embedding": rng.normal(size=(5, 4)).astype(np.float32),
    }
    grads["layers"]["experts"] = {"gate": rng.normal(size=(2, 3, 4, 6)).astype(np.float32)}
    grads["layers"]["fc"]["kernel"][1] *= 1e-3  # a layer's size does not count
    params = jax.tree.map(jnp.ones_like, grads)
    found = {}
    for kind in ("muon", "adamw"):
        tx = make_optimizer(OptimizerConfig(kind=kind, learning_rate=0.1, warmup=0.001, clip=0.0), params, steps=1000)
        state = tx.init(params)
        for _ in range(2):  # the first step has rate 0
            found[kind], state = tx.update(grads, state, params)
    moved, given = (tree["layers"] for tree in (found["muon"], grads))
    updates = [*moved["fc"]["kernel"], *moved["experts"]["gate"].reshape(6, 4, 6)]
    for update, grad in zip(updates, [*given["fc"]["kernel"], *given["experts"]["gate"].reshape(6, 4, 6)], strict=True):
        u, _, v = np.linalg.svd(grad, full_matrices=False)
        values = np.linalg.svd(update, compute_uv=False) / (0.1 * 0.2 * 6**0.5)
        assert ((values > 0.6) & (values < 1.3)).all(), values
        assert -(np.asarray(update) * (u @ v)).sum() / np.linalg.norm(update) / 2 > 0.95  # cosine with U V^T
    np.testing.assert_array_equal(found["muon"]["embedding"], found["adamw"]["embedding"])
    np.testing.assert_array_equal(found["muon"]["layers"]["fc"]["bias"], found["adamw"]["layers"]["fc"]["bias"])
