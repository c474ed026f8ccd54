"""The moving average of the parameters, step by step by hand."""

from __future__ import annotations

import jax.numpy as jnp
import optax
import pytest

from mmssr_jax.training.ema import ema, ema_params


@pytest.mark.parametrize(
    ("decay", "averages"),
    [
        # d = min(decay, (1 + n) / (10 + n)) is 2/11, 3/12, 4/13; the parameters go 0, -1, -2, -3
        (0.98, [-9 / 11, -9 / 44 - 3 / 2, 4 / 13 * (-9 / 44 - 3 / 2) - 27 / 13]),
        (0.05, [-0.95, -0.05 * 0.95 - 1.9, 0.05 * (-0.05 * 0.95 - 1.9) - 0.95 * 3]),
    ],
)
def test_the_decay_rises_with_the_step_up_to_its_limit(decay, averages):
    tx = ema(optax.sgd(1.0), decay=decay)
    params = {"w": jnp.zeros(2)}
    state = tx.init(params)
    for expected in averages:
        updates, state = tx.update({"w": jnp.ones(2)}, state, params)
        params = optax.apply_updates(params, updates)
        assert ema_params(state)["w"].tolist() == pytest.approx([expected] * 2, abs=1e-6)
