"""Branches behind one prompt, as they are drawn in the module."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmssr_jax.data.continuations import sum_branches, with_continuations
from mmssr_jax.data.example import prompt_example

PIXELS = np.zeros((1, 2, 2, 3), np.uint8)
PROMPT = prompt_example(np.array([7, 8, 9], np.int32), np.array([-1, 1, -1], np.int32), PIXELS)


def test_three_branches():
    """prompt 7 8 9, branches 1 2 | 3 | 4 5 6."""
    example = with_continuations(PROMPT, [[1, 2], [3], [4, 5, 6]])
    assert example.tokens.tolist() == [7, 8, 9, 1, 2, 3, 4, 5, 6]
    assert example.positions.tolist() == [0, 1, 2, 3, 4, 3, 3, 4, 5]
    assert example.visible_until.tolist() == [9, 9, 9, 5, 5, 6, 9, 9, 9]
    assert example.image_slot.tolist() == [-1, 1, -1, *[example.image_slot[0]] * 6]
    assert example.loss_position.tolist() == [2, 3, 2, 2, 6, 7]
    assert example.loss_target.tolist() == [1, 2, 3, 4, 5, 6]
    assert example.loss_weight.tolist() == [1.0] * 6


def test_sums_of_branches():
    assert sum_branches(np.array([1.0, 2, 4, 8, 16, 32, 99]), [[1, 2], [3], [4, 5, 6]]).tolist() == [3.0, 4.0, 56.0]


@given(st.lists(st.lists(st.integers(0, 99), min_size=1, max_size=5), min_size=1, max_size=6))
def test_a_branch_is_visible_to_itself_alone(branches):
    example = with_continuations(PROMPT, branches)
    index = np.arange(len(example))
    visible = (index[None, :] <= index[:, None]) & (index[:, None] < example.visible_until[None, :])
    branch = np.concatenate([np.zeros(3, int), np.repeat(np.arange(len(branches)) + 1, [len(b) for b in branches])])
    expected = (index[None, :] <= index[:, None]) & ((branch[None, :] == 0) | (branch[None, :] == branch[:, None]))
    np.testing.assert_array_equal(visible, expected)


@pytest.mark.parametrize("branches", [[], [[1], []]])
def test_an_empty_branch_is_an_error(branches):
    with pytest.raises(ValueError, match="no tokens"):
        with_continuations(PROMPT, branches)
