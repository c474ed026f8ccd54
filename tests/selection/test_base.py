"""Budgets."""

from __future__ import annotations

import pytest

from mmssr_jax.core.errors import UserError
from mmssr_jax.selection.base import Budget
from mmssr_jax.selection.config import SelectionConfig


@pytest.mark.parametrize(
    ("budget", "pool", "samples"),
    [
        (Budget(ratio=0.29), 100, 28),  # 28.999..., as the official int() has it
        (Budget(ratio=0.02), 40, 0),
        (Budget(ratio=1.0), 7, 7),
        (Budget(count=7), 7, 7),
        (Budget(tokens=7), 7, None),
    ],
)
def test_samples(budget: Budget, pool: int, samples: int | None) -> None:
    assert budget.samples(pool) == samples


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({}, "given: none"),
        ({"ratio": 0.1, "tokens": 5}, "given: ratio, tokens"),
        ({"ratio": 0.0}, "above 0 and at most 1"),
        ({"ratio": 1.01}, "above 0 and at most 1"),
        ({"ratio": float("nan")}, "above 0 and at most 1"),
        ({"count": 0}, "at least 1"),
        ({"tokens": -1}, "at least 1"),
    ],
)
def test_wrong_budgets(fields: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Budget(**fields)  # type: ignore[arg-type]


def test_more_than_the_pool() -> None:
    with pytest.raises(UserError, match="8 samples is more than the 7"):
        Budget(count=8).samples(7)


def test_nested_budgets_are_of_one_kind() -> None:
    with pytest.raises(ValueError, match="of one kind, not count and ratio"):
        SelectionConfig(nested=True, budgets={"a": Budget(count=1), "b": Budget(ratio=0.5)})
    with pytest.raises(ValueError, match="cap per source"):
        SelectionConfig(max_per_source=-1)
