"""Which tokens may be drawn, and how often they are."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest

from mmssr_jax.generation.sampling import Sampling, draw, restrict

PROBABILITY = np.array([0.1, 0.4, 0.3, 0.2], np.float32)
LOGITS = jnp.log(PROBABILITY)


@pytest.mark.parametrize(
    ("top_k", "top_p", "kept"),
    [
        (0, 1.0, [0, 1, 2, 3]),
        (2, 1.0, [1, 2]),
        (0, 0.39, [1]),
        (0, 0.69, [1, 2]),
        (0, 0.71, [1, 2, 3]),
        (1, 0.9, [1]),
        (0, 1e-9, [1]),
    ],
)
def test_restrict(top_k, top_p, kept):
    found = restrict(LOGITS, top_k=top_k, top_p=top_p)
    assert np.flatnonzero(np.isfinite(found)).tolist() == kept
    np.testing.assert_array_equal(found[np.array(kept)], LOGITS[np.array(kept)])


def test_draws_follow_the_distribution():
    n = 4000
    tokens = draw(jnp.tile(LOGITS, (n, 1)), jnp.arange(n), jnp.int32(0), Sampling(temperature=1.0))
    np.testing.assert_allclose(np.bincount(tokens, minlength=4) / n, PROBABILITY, atol=0.03)


def test_low_temperature_is_nearly_greedy():
    n = 500
    tokens = draw(jnp.tile(LOGITS, (n, 1)), jnp.arange(n), jnp.int32(0), Sampling(temperature=0.01))
    assert set(np.asarray(tokens)) == {1}


def test_equal_logits_fall_to_the_lowest_id():
    assert draw(jnp.array([[1.0, 3.0, 3.0]]), jnp.zeros(1, int), jnp.int32(0), Sampling())[0] == 1


@pytest.mark.parametrize("wrong", [{"temperature": -1.0}, {"top_p": 0.0}, {"top_k": -1}])
def test_wrong_settings(wrong):
    with pytest.raises(ValueError, match="top_p"):
        Sampling(**wrong)
