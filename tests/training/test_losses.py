"""The loss of a batch with known logits."""

from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mmssr_jax.training.losses import weighted_loss

LOGITS = np.log(np.array([[[0.5, 0.25, 0.25], [0.1, 0.1, 0.8]]], np.float32))  # [1, 2, 3], probabilities
TARGETS, WEIGHTS = np.array([[1, 0]]), np.array([[1.0, 3.0]], np.float32)


def loss(logits: jax.Array, q: float | None = None) -> tuple[jax.Array, Any]:
    """The loss of a model whose hidden states are these logits [1, 2, 3], the second target's with this q."""
    config = SimpleNamespace(decoder=SimpleNamespace(moe=None))
    model: Any = SimpleNamespace(run=lambda *_: (logits, jnp.zeros(())), logits=lambda hidden: hidden, config=config)
    batch: Any = SimpleNamespace(loss_position=np.array([[0, 1]]), loss_target=TARGETS, loss_weight=WEIGHTS)
    batch.loss_q = None if q is None else jnp.array([[0.0, q]])
    for unread in ("tokens", "pixels", "image_index", "positions", "visible_until"):
        setattr(batch, unread, None)
    return weighted_loss(model, batch)


def test_cross_entropy_and_its_generalisation_by_hand():
    plain = -np.log(0.25) - 3 * np.log(0.1)
    total, sums = loss(jnp.asarray(LOGITS))
    assert float(total) == pytest.approx(plain, rel=1e-6)
    assert float(sums.entropy) == pytest.approx(plain, rel=1e-6)
    assert float(sums.hits) == 0
    total, sums = loss(jnp.asarray(LOGITS), q=0.5)
    assert float(total) == pytest.approx(-np.log(0.25) + 3 * (1 - 0.1**0.5) / 0.5, rel=1e-6)
    assert float(sums.entropy) == pytest.approx(plain, rel=1e-6)  # never generalised
    assert float(loss(jnp.asarray(LOGITS), q=1.0)[0]) == pytest.approx(-np.log(0.25) + 3 * 0.9, rel=1e-6)
    assert float(loss(jnp.asarray(LOGITS), q=0.0)[0]) == float(loss(jnp.asarray(LOGITS))[0])


def test_the_generalised_gradient_is_the_cross_entropys_times_p_to_the_q():
    plain, general, zero = (jax.grad(lambda x, q=q: loss(x, q)[0])(jnp.asarray(LOGITS)) for q in (None, 0.3, 0.0))
    np.testing.assert_allclose(general[0], plain[0] * np.array([[1.0], [0.1**0.3]]), rtol=1e-5)
    np.testing.assert_array_equal(zero, plain)
