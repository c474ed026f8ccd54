"""Bad steps are skipped, on numbers one can check by hand; the moving average of the parameters."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from mmssr_jax.training.ema import ema, ema_params
from mmssr_jax.training.skip_bad_steps import SkipBadStepsConfig, consecutive_skips, skip_bad_steps

PARAMS = {"w": jnp.ones(2)}


def _walk(tx: optax.GradientTransformation, grads: list[float]):
    """Parameters after each step, and the skips in a row."""
    params, state, history = PARAMS, tx.init(PARAMS), []
    update = jax.jit(tx.update)
    for g in grads:
        updates, state = update({"w": jnp.full(2, g)}, state, params)
        params = optax.apply_updates(params, updates)
        history.append((float(params["w"][0]), int(consecutive_skips(state))))
    return history, state


def test_a_gradient_that_is_not_finite_changes_nothing():
    history, state = _walk(skip_bad_steps(optax.sgd(0.1, momentum=0.9), spike=0.0), [1.0, np.nan, np.inf, 1.0])
    assert history == [
        (pytest.approx(0.9), 0), (pytest.approx(0.9), 1), (pytest.approx(0.9), 2), (pytest.approx(0.71), 0)
    ]  # fmt: skip
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(state))


def test_a_spike_is_skipped_once_there_is_a_mean():
    history, _ = _walk(skip_bad_steps(optax.sgd(0.0), spike=3.0), [100.0] + [1.0] * 29 + [50.0, 1.0])
    skips = [n for n, (_, skipped) in enumerate(history) if skipped]
    assert skips == []  # the first, large norm is still in the mean
    history, _ = _walk(skip_bad_steps(optax.sgd(0.0), spike=3.0), [1.0] * 25 + [2.9, 3.5, 1.0])
    assert [skipped for _, skipped in history[-3:]] == [0, 1, 0]


def test_skips_are_read_from_the_state():
    assert consecutive_skips(optax.sgd(0.1).init(PARAMS)) is None
    assert not SkipBadStepsConfig().active
    assert SkipBadStepsConfig("skip").active
    with pytest.raises(ValueError, match=r"spike is 0\.5"):
        SkipBadStepsConfig(spike=0.5)


def test_the_mean_follows_the_parameters():
    """d = min(decay, (1 + n) / (10 + n)): 2/11, 3/12, of the parameters so far."""
    tx = ema(optax.sgd(1.0), decay=0.999)
    params, state = PARAMS, tx.init(PARAMS)
    mean = 1.0
    for n in (1, 2, 3):
        updates, state = tx.update({"w": jnp.ones(2)}, state, params)
        params = optax.apply_updates(params, updates)
        d = (1 + n) / (10 + n)
        mean = d * mean + (1 - d) * (1 - n)
        assert float(ema_params(state)["w"][0]) == pytest.approx(mean)
    assert ema_params(optax.sgd(1.0).init(PARAMS)) is None
