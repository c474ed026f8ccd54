"""The search of benchmarks/most_rows.py on programs whose memory is known."""

from __future__ import annotations

import importlib.util
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmssr_jax.core.errors import UserError


@pytest.fixture(scope="session")
def most_rows(repo):
    spec = importlib.util.spec_from_file_location("most_rows", repo / "benchmarks/most_rows.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.most_rows


def test_a_line_is_met_exactly_and_what_does_not_fit_may_say_nothing(most_rows):
    asked = []

    def hbm(rows):
        asked.append(rows)
        return 5.0 + 0.28 * rows if 5.0 + 0.28 * rows <= 16.0 else math.inf

    assert most_rows(hbm, 16.0) == 39
    assert asked == [1, 4, 39]


def test_not_even_one_row(most_rows):
    with pytest.raises(UserError, match=r"one row a device needs 17\.00 GiB, a chip has 16"):
        most_rows(lambda rows: 16.0 + rows, 16.0)


@given(st.integers(2, 160), st.integers(1, 120), st.integers(0, 1))
def test_it_fits_and_on_a_line_it_is_nearly_full(most_rows, fixed, row, bend):
    """Sixteenths of a GiB, that sums are exact."""

    def gib(rows):
        return (fixed + row * rows + bend * rows * rows) / 16

    best = max((r for r in range(200) if gib(r) <= 16.0), default=0)
    if best:
        found = most_rows(lambda rows: gib(rows) if gib(rows) <= 16.0 else math.inf, 16.0)
        assert gib(found) <= 16.0
        assert bend or found == best or gib(found) > 0.95 * 16.0
