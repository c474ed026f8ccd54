import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmssr_jax.judge.api.budget import SpendingBudget
from mmssr_jax.judge.api.retry import RunStoppedError


def spend(spending, costs, *, most):
    """Runs requests that reserve `most` and cost `costs`, all at once; returns how many went through."""
    peak, done = 0.0, 0

    async def one(cost):
        nonlocal peak, done
        await spending.wait_and_reserve(most)
        await asyncio.sleep(0)
        spending.settle(most, cost)
        peak = max(peak, spending.usd + spending.reserved)
        done += 1

    async def go():
        return await asyncio.gather(*(one(c) for c in costs), return_exceptions=True)

    results = asyncio.run(go())
    return done, peak, [r for r in results if r is not None]


@given(st.lists(st.floats(0, 1), max_size=40), st.floats(0, 10), st.integers(0, 5))
def test_the_cap_holds_under_concurrency(costs, cap, before):
    spending = SpendingBudget(usd=float(before), requests=0, max_usd=cap, max_requests=None)
    done, peak, errors = spend(spending, costs, most=1.0)
    assert peak <= max(cap, before) + 1e-9
    assert done + len(errors) == len(costs)
    assert all(isinstance(e, RunStoppedError) and e.reason == "cap_usd" for e in errors)
    # whoever was turned away would not have fitted
    assert not errors or spending.usd + 1.0 > cap


def test_answers_that_cost_less_make_room_for_others():
    spending = SpendingBudget(usd=0.0, requests=0, max_usd=2.0, max_requests=None)
    done, _, errors = spend(spending, [0.1] * 10, most=1.0)
    assert (done, len(errors)) == (10, 0)


def test_requests_of_earlier_runs_count():
    spending = SpendingBudget(usd=0.0, requests=7, max_usd=None, max_requests=10)
    done, _, errors = spend(spending, [0.0] * 5, most=0.0)
    assert done == 3
    assert {e.reason for e in errors} == {"cap_requests"}


def test_no_caps():
    done, _, errors = spend(SpendingBudget(usd=9e9, requests=0, max_usd=None, max_requests=None), [5.0] * 9, most=5.0)
    assert (done, errors) == (9, [])


def test_the_line_says_what_to_raise():
    spending = SpendingBudget(usd=1.5, requests=0, max_usd=1.0, max_requests=None)
    with pytest.raises(RunStoppedError, match=r"cap of \$1.00 is reached \(\$1.5000 spent.*raise limits.max_usd"):
        asyncio.run(spending.wait_and_reserve(0.1))
