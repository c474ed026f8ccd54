"""Which tokens can be sampled, and how often."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest

from mmssr_jax.generation.sampling import Sampling, restrict, sample, sample_rows

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


def test_samples_follow_the_distribution():
    n = 4000
    tokens = sample(jnp.tile(LOGITS, (n, 1)), jnp.arange(n), jnp.int32(0), Sampling(temperature=1.0))
    np.testing.assert_allclose(np.bincount(tokens, minlength=4) / n, PROBABILITY, atol=0.03)


def rows(n, *, temperature=1.0, top_p=1.0, seeds=None, step=0):
    """Samples of `n` rows with equal logits."""
    full = jnp.full(n, temperature), jnp.full(n, top_p)
    return np.asarray(sample_rows(jnp.tile(LOGITS, (n, 1)), *full, jnp.arange(n) if seeds is None else seeds, step))


def test_rows_are_sampled_with_their_settings():
    n = 4000
    np.testing.assert_allclose(np.bincount(rows(n), minlength=4) / n, PROBABILITY, atol=0.03)
    nucleus = np.bincount(rows(n, top_p=0.69), minlength=4) / n
    np.testing.assert_allclose(nucleus, [0, 4 / 7, 3 / 7, 0], atol=0.03)
    mixed = sample_rows(
        jnp.tile(LOGITS, (3, 1)), jnp.array([0.0, 9.0, 9.0]), jnp.array([1.0, 1e-9, 1.0]), jnp.array([0, 0, 3]), 0
    )
    assert np.asarray(mixed)[:2].tolist() == [1, 1]
    assert sample_rows(jnp.array([[1.0, 3.0, 3.0]]), jnp.zeros(1), jnp.ones(1), jnp.zeros(1, int), 0)[0] == 1


def test_a_rows_sample_depends_only_on_its_seed_and_the_step():
    seeds = jnp.array([5, 9, 11, 12, 40, 41])
    first = rows(6, seeds=seeds)
    assert rows(6, seeds=seeds[::-1]).tolist() == first[::-1].tolist()
    assert {tuple(rows(6, seeds=seeds, step=s)) for s in range(4)} != {tuple(first)}


def test_low_temperature_is_nearly_greedy():
    n = 500
    tokens = sample(jnp.tile(LOGITS, (n, 1)), jnp.arange(n), jnp.int32(0), Sampling(temperature=0.01))
    assert set(np.asarray(tokens)) == {1}


def test_ties_go_to_the_lowest_id():
    assert sample(jnp.array([[1.0, 3.0, 3.0]]), jnp.zeros(1, int), jnp.int32(0), Sampling())[0] == 1


@pytest.mark.parametrize("wrong", [{"temperature": -1.0}, {"top_p": 0.0}, {"top_k": -1}])
def test_wrong_settings(wrong):
    with pytest.raises(ValueError, match="top_p"):
        Sampling(**wrong)
