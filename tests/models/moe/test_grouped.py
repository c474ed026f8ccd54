"""Rows sorted by expert in whole blocks, and the MLPs applied to them."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmssr_jax.models.moe import grouped


def test_layout_of_a_small_table():
    """Experts 1, 0, 1, 1, none, 0 in blocks of 2: expert 0 fills block 0, expert 1 blocks 1 and half of 2."""
    layout = grouped.sort_by_expert(jnp.array([1, 0, 1, 1, 7, 0]), 3, 2)
    assert layout.row.tolist() == [2, 0, 3, 4, 12, 1]
    assert layout.assignment.tolist() == [1, 5, 0, 2, 3, 6, *[6] * 6]
    assert layout.expert.tolist()[:3] == [0, 1, 1]
    assert layout.used == 3


@pytest.mark.parametrize(("assignments", "experts", "rows"), [(6144, 8, 256), (480, 8, 16), (8, 64, 8), (2560, 64, 16)])
def test_blocks_are_small_relative_to_an_even_share(assignments, experts, rows):
    assert grouped.block_rows(assignments, experts) == rows


@settings(deadline=None, max_examples=30)
@given(st.lists(st.integers(-2, 5), min_size=12, max_size=12), st.sampled_from([1, 2, 5, 8]))
def test_every_assignment_has_one_row_in_a_block_of_its_expert(choice, block):
    layout = jax.tree.map(
        np.asarray, jax.jit(grouped.sort_by_expert, static_argnums=(1, 2))(jnp.array(choice), 4, block)
    )
    S = len(layout.assignment)
    for a, expert in enumerate(choice):
        if 0 <= expert < 4:
            row = layout.row[a]
            assert layout.assignment[row] == a
            assert layout.expert[row // block] == expert
            assert row // block < layout.used
        else:
            assert layout.row[a] == S
    taken = [a for a in layout.assignment if a < len(choice)]
    assert sorted(taken) == [a for a, expert in enumerate(choice) if 0 <= expert < 4]
    assert layout.used == sum(-(-choice.count(e) // block) for e in range(4))


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_values_and_gradients_equal_one_mlp_at_a_time(dtype):
    """Blocks 0 and 2 of expert 1, block 1 of expert 0, block 3 unused: it affects no value and no gradient."""
    rng = np.random.default_rng(0)
    rows, expert = jnp.asarray(rng.normal(size=(16, 6)), dtype), jnp.array([1, 0, 1, 2])
    shapes = ((3, 6, 10), (3, 6, 10), (3, 10, 6))
    weights = tuple(jnp.asarray(rng.normal(size=s) / 2, dtype) for s in shapes)
    pull = jnp.asarray(rng.normal(size=(16, 6)), dtype)

    def blocks(rows, weights):
        return jnp.vdot(grouped.grouped_mlp(rows, expert, jnp.int32(3), weights), pull)

    def plain(rows, weights):
        parts = [grouped.mlp(rows[4 * b : 4 * b + 4], *(w[e] for w in weights)) for b, e in enumerate((1, 0, 1))]
        return jnp.vdot(jnp.concatenate(parts), pull[:12])

    found, expected = (jax.jit(jax.value_and_grad(f, argnums=(0, 1)))(rows, weights) for f in (blocks, plain))
    assert jax.tree.map(lambda x: x.dtype, found) == jax.tree.map(lambda x: x.dtype, expected)
    assert not np.any(np.asarray(found[1][0][12:], np.float32))
    assert not np.any(np.asarray(found[1][1][0][2], np.float32))
    tolerance = 1e-5 if dtype == jnp.float32 else 0.1
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a.astype(jnp.float32), b.astype(jnp.float32), atol=tolerance),
        found, expected,
    )  # fmt: skip
