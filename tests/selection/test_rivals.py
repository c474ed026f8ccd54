"""The methods that need no model."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmssr_jax.core.errors import UserError
from mmssr_jax.selection.base import Budget, Selector
from mmssr_jax.selection.length import LengthSelector
from mmssr_jax.selection.random import RandomSelector
from mmssr_jax.selection.stratified import StratifiedSelector
from mmssr_jax.selection.table import ScoreTable

from .tables_for_tests import candidates_of, make_table, score_tables

SELECTORS = [RandomSelector(), LengthSelector(), StratifiedSelector(), StratifiedSelector(equal=True)]


@pytest.mark.parametrize("selector", SELECTORS, ids=str)
@given(table=score_tables(), count=st.integers(1, 40), tokens=st.booleans(), data=st.data())
def test_budgets_caps_and_row_order(
    selector: Selector, table: ScoreTable, count: int, tokens: bool, data: st.DataObject
) -> None:
    count = min(count, len(table))
    budget = Budget(tokens=3 * count) if tokens else Budget(count=count)
    caps = np.array(data.draw(st.lists(st.integers(0, 9), min_size=3, max_size=3)))
    allowed = np.array(data.draw(st.lists(st.booleans(), min_size=len(table), max_size=len(table))))
    found = selector.select(candidates_of(table, allowed=allowed, source_caps=caps), [budget])
    rows = found.rows
    assert len(set(rows.tolist())) == len(rows)
    assert allowed[rows].all()
    per_source = np.bincount(table.source[rows], minlength=3)
    assert (per_source <= caps).all()
    spent = int(table.n_tokens[rows].sum()) if tokens else len(rows)
    assert spent <= (budget.tokens or budget.count)
    could = allowed & (per_source < caps)[table.source]
    could[rows] = False
    could &= (table.n_tokens <= budget.tokens - spent) if tokens else spent < budget.count
    assert not could.any()
    order = np.random.default_rng(count).permutation(len(table))
    turned = dataclasses.replace(
        table,
        ids=table.ids.take(order),
        source=table.source[order],
        styles=table.styles[order],
        scores={k: v[order] for k, v in table.scores.items()},
        n_tokens=table.n_tokens[order],
    )
    again = selector.select(candidates_of(turned, allowed=allowed[order], source_caps=caps), [budget])
    assert again.to_arrow(turned).equals(found.to_arrow(table))


@pytest.mark.parametrize("selector", SELECTORS, ids=str)
def test_nested_budgets(selector: Selector) -> None:
    table = make_table([(i % 3, [0], [1.0]) for i in range(30)])
    both = selector.select(candidates_of(table), [Budget(count=7), Budget(count=20)])
    assert both.ends == (7, 20)
    alone = selector.select(candidates_of(table), [Budget(count=7)])
    np.testing.assert_array_equal(both.rows[:7], alone.rows)


def test_random_hangs_on_the_seed_and_is_uniform() -> None:
    table = make_table([(0, [0], [1.0])] * 40)
    hits = np.zeros(40)
    for seed in range(300):
        hits[RandomSelector().select(candidates_of(table, seed=seed), [Budget(count=10)]).rows] += 1
    assert hits.sum() == 3000
    assert 40 < hits.min() <= hits.max() < 115  # 75 expected, standard deviation 7.5


def test_length_takes_the_longest_or_the_shortest() -> None:
    table = make_table([(0, [0], [1.0])] * 10)
    lengths = table.n_tokens
    for longest in (True, False):
        found = LengthSelector(longest_first=longest).select(candidates_of(table), [Budget(count=4)])
        expected = sorted(lengths.tolist(), reverse=longest)[:4]
        assert lengths[found.rows].tolist() == found.score.tolist() == expected
    with pytest.raises(UserError, match="needs the scores' column n_tokens"):
        LengthSelector().select(candidates_of(dataclasses.replace(table, n_tokens=None)), [Budget(count=1)])
    with pytest.raises(UserError, match="a budget of tokens needs"):
        RandomSelector().select(candidates_of(dataclasses.replace(table, n_tokens=None)), [Budget(tokens=1)])


@given(st.lists(st.integers(0, 2), min_size=1, max_size=60), st.integers(1, 60))
def test_every_cut_holds_the_sources_in_proportion(sources: list[int], count: int) -> None:
    table = make_table([(s, [0], [1.0]) for s in sources])
    count = min(count, len(sources))
    found = StratifiedSelector().select(candidates_of(table), [Budget(count=count)])
    per_source = np.bincount(table.source[found.rows], minlength=3)
    share = np.bincount(sources, minlength=3) * count / len(sources)
    assert (np.abs(per_source - share) <= 1).all()


def test_equal_shares_as_long_as_a_source_lasts() -> None:
    table = make_table([(0, [0], [1.0])] * 20 + [(1, [0], [1.0])] * 3 + [(2, [0], [1.0])] * 10)
    found = StratifiedSelector(equal=True).select(candidates_of(table), [Budget(count=15)])
    assert np.bincount(table.source[found.rows]).tolist() == [6, 3, 6]
