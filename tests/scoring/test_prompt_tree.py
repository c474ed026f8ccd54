"""The trie of prompts: a literal example, and properties of random prompts."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmssr_jax.models.module_params import merge
from mmssr_jax.scoring.prompt_tree import build_tree
from tests.small import bundle

prompts = st.lists(st.lists(st.integers(0, 3), min_size=1, max_size=6), min_size=1, max_size=8)


def test_tree_of_the_docstring():
    tree = build_tree([[0, 1, 2, 3], [0, 1, 4], [0, 5]])
    assert tree.tokens.tolist() == [0, 1, 2, 3, 4, 5]
    assert tree.positions.tolist() == [0, 1, 2, 3, 2, 1]
    assert tree.visible_until.tolist() == [6, 5, 4, 4, 5, 6]
    assert tree.leaves.tolist() == [3, 4, 5]


@given(prompts)
def test_a_leaf_attends_to_exactly_its_prompt(given_prompts):
    tree = build_tree(given_prompts)
    for prompt, path, leaf in zip(given_prompts, tree.paths, tree.leaves, strict=True):
        visible = [j for j in range(leaf + 1) if leaf < tree.visible_until[j]]
        assert tree.tokens[visible].tolist() == prompt
        assert tree.positions[visible].tolist() == list(range(len(prompt)))
        assert path.tolist() == visible


@given(prompts)
def test_nothing_shared_is_stored_twice(given_prompts):
    prefixes = {tuple(p[: k + 1]) for p in given_prompts for k in range(len(p))}
    assert len(build_tree(given_prompts).tokens) == len(prefixes)


@pytest.mark.parametrize("bad", [[], [[1], []]])
def test_empty_prompts_are_an_error(bad):
    with pytest.raises(ValueError, match="at least one prompt"):
        build_tree(bad)


PREFIX, ROOM, LONGEST = 10, 64, 6
MODEL = bundle()


@jax.jit
def _states(tokens, positions, visible_until):
    model = merge(MODEL.graphdef, MODEL.params)
    return model.decode(model.embed(tokens, None, jnp.full(tokens.shape, -1)), positions, visible_until)


@settings(deadline=None, max_examples=40)
@given(prompts, st.lists(st.integers(0, 500), min_size=1, max_size=PREFIX))
def test_leaves_have_the_states_of_separate_prompts(given_prompts, prefix):
    """Through a whole decoder in float32, for any prompts after any prefix, padded to one shape."""
    n, tree = len(prefix), build_tree(given_prompts)
    used = n + len(tree.tokens)
    tokens, positions = np.zeros((1, ROOM), np.int32), np.zeros((1, ROOM), np.int32)
    visible_until = np.arange(1, ROOM + 1, dtype=np.int32)[None].copy()
    tokens[0, :used], positions[0, :used] = [*prefix, *tree.tokens], [*range(n), *(tree.positions + n)]
    visible_until[0, :used] = [*[used] * n, *(tree.visible_until + n)]
    packed = np.asarray(_states(tokens, positions, visible_until))[0, n + tree.leaves]

    alone = np.zeros((8, PREFIX + LONGEST), np.int32)
    for row, prompt in enumerate(given_prompts):
        alone[row, : n + len(prompt)] = [*prefix, *prompt]
    index = np.tile(np.arange(PREFIX + LONGEST, dtype=np.int32), (8, 1))
    states = np.asarray(_states(alone, index, np.full_like(index, PREFIX + LONGEST)))
    expected = np.stack([states[row, n + len(prompt) - 1] for row, prompt in enumerate(given_prompts)])
    np.testing.assert_allclose(packed, expected, atol=1e-4)
