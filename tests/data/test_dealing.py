"""Draws of one sequence over several processes: each once, and every process with the shares of the whole."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmssr_jax.data.dealing import Dealing
from mmssr_jax.data.mixture import Component, Mixture


@given(st.integers(1, 70), st.integers(0, 500))
def test_every_draw_is_dealt_once_also_where_they_end_within_a_round(processes: int, draws: int):
    dealt = []
    for process in range(processes):
        dealing = Dealing(process, processes)
        dealt += [dealing[n] for n in range(dealing.share(draws))]
    assert sorted(dealt) == [(0, n) for n in range(draws)]


@pytest.mark.parametrize("processes", [2, 3, 5, 8, 64])
@pytest.mark.parametrize("weights", [(1, 1), (3, 1), (80, 10, 10), (4, 1, 1, 2)], ids=str)
def test_every_process_has_the_shares(weights: tuple[int, ...], processes: int):
    """Also where the number of processes divides a period of the shares; within 2 % of 1,000 draws."""
    mixture = Mixture([Component(f"c{n}", ["x"] * 2000, weight) for n, weight in enumerate(weights)])
    whole = mixture.dataset(5)
    for process in (0, processes - 1):
        dealing = Dealing(process, processes)
        numbers = np.array([whole[dealing[n][1]][0] for n in range(1000)])
        shares = np.bincount(mixture.component_of(numbers), minlength=len(weights)) / len(numbers)
        np.testing.assert_allclose(shares, np.array(weights) / sum(weights), atol=0.02)


def test_one_process_takes_all_in_order():
    assert [Dealing(0, 1)[n] for n in range(5)] == [(0, n) for n in range(5)]
