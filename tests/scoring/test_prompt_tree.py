"""The trie of prompts: drawn by hand, and as a property of any prompts."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmssr_jax.scoring.prompt_tree import build_tree

prompts = st.lists(st.lists(st.integers(0, 3), min_size=1, max_size=6), min_size=1, max_size=8)


def test_tree_of_the_docstring():
    tree = build_tree([[0, 1, 2, 3], [0, 1, 4], [0, 5]])
    assert tree.tokens.tolist() == [0, 1, 2, 3, 4, 5]
    assert tree.positions.tolist() == [0, 1, 2, 3, 2, 1]
    assert tree.until.tolist() == [6, 5, 4, 4, 5, 6]
    assert tree.leaves.tolist() == [3, 4, 5]


@given(prompts)
def test_each_prompt_is_read_back_from_what_its_leaf_sees(given_prompts):
    tree = build_tree(given_prompts)
    for prompt, path, leaf in zip(given_prompts, tree.paths, tree.leaves, strict=True):
        seen = [j for j in range(leaf + 1) if leaf < tree.until[j]]
        assert tree.tokens[seen].tolist() == prompt
        assert tree.positions[seen].tolist() == list(range(len(prompt)))
        assert path.tolist() == seen


@given(prompts)
def test_nothing_shared_is_stored_twice(given_prompts):
    prefixes = {tuple(p[: k + 1]) for p in given_prompts for k in range(len(p))}
    assert len(build_tree(given_prompts).tokens) == len(prefixes)


@pytest.mark.parametrize("bad", [[], [[1], []]])
def test_empty_prompts_are_an_error(bad):
    with pytest.raises(ValueError, match="at least one prompt"):
        build_tree(bad)
