"""The methods that need no model."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmssr_jax.core.errors import UserError
from mmssr_jax.selection.base import Budget
from mmssr_jax.selection.config import SelectionConfig
from mmssr_jax.selection.method import Selector
from mmssr_jax.selection.methods.feature import FeatureSelector
from mmssr_jax.selection.methods.length import LengthSelector
from mmssr_jax.selection.methods.random import RandomSelector
from mmssr_jax.selection.methods.stratified import StratifiedSelector
from mmssr_jax.selection.methods.votes import VotesSelector
from mmssr_jax.selection.table import ScoreTable

from .tables_for_tests import candidates_of, make_table, score_tables

SELECTORS = [
    RandomSelector(), LengthSelector(), StratifiedSelector(), StratifiedSelector("equal"), VotesSelector(("x", "y")),
    *(FeatureSelector("x", take) for take in ("highest", "lowest", "middle")),
]  # fmt: skip


def with_features(table: ScoreTable) -> ScoreTable:
    """Two features with ties; "y" has gaps."""
    n = np.arange(len(table))
    y = np.where(n % 4 == 3, np.nan, (5 * n) % 7)
    return dataclasses.replace(table, features={"x": ((3 * n) % 5).astype(np.float32), "y": y.astype(np.float32)})


@pytest.mark.parametrize("selector", SELECTORS, ids=str)
@given(table=score_tables(), count=st.integers(1, 40), tokens=st.booleans(), data=st.data())
def test_budgets_caps_and_row_order(
    selector: Selector, table: ScoreTable, count: int, tokens: bool, data: st.DataObject
) -> None:
    table = with_features(table)
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
        features={k: v[order] for k, v in table.features.items()},
    )
    again = selector.select(candidates_of(turned, allowed=allowed[order], source_caps=caps), [budget])
    assert again.to_arrow(turned).equals(found.to_arrow(table))


@pytest.mark.parametrize("selector", SELECTORS, ids=str)
def test_nested_budgets(selector: Selector) -> None:
    table = with_features(make_table([(i % 3, [0], [1.0]) for i in range(30)]))
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
        found = LengthSelector("longest" if longest else "shortest").select(candidates_of(table), [Budget(count=4)])
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
    found = StratifiedSelector("equal").select(candidates_of(table), [Budget(count=15)])
    assert np.bincount(table.source[found.rows]).tolist() == [6, 3, 6]


def featured(**columns: list[float]) -> ScoreTable:
    n = len(next(iter(columns.values())))
    features = {name: np.array(values, np.float32) for name, values in columns.items()}
    return dataclasses.replace(make_table([(0, [0], [1.0])] * n), features=features)


@pytest.mark.parametrize(("take", "rows"), [("highest", {4, 1, 3}), ("lowest", {0, 5, 6}), ("middle", {6, 2, 3})])
def test_a_feature_from_either_end_or_the_middle(take: str, rows: set[int]) -> None:
    """Of 0.1, 0.2, 0.3, [0.4, 0.5], 7, 9: six values and one that is missing, which is never taken."""
    table = featured(ppl=[0.1, 7.0, 0.4, 0.5, 9.0, 0.2, 0.3, float("nan")])
    found = FeatureSelector("ppl", take).select(candidates_of(table), [Budget(count=3)])  # type: ignore[arg-type]
    assert set(found.rows.tolist()) == rows
    np.testing.assert_array_equal(found.score, table.features["ppl"][found.rows])
    everything = FeatureSelector("ppl", take).select(candidates_of(table), [Budget(count=8)])  # type: ignore[arg-type]
    assert sorted(everything.rows.tolist()) == list(range(7))


def test_votes_of_the_tasks() -> None:
    """Each task votes for its best two of five; row 2 has both votes, rows 0 and 4 one, of which 0 ranks better."""
    table = featured(a=[5.0, 1.0, 4.0, 2.0, 3.0], b=[3.0, 1.0, 4.0, 2.0, 5.0])
    table.features["b"][0] = 3.5
    found = VotesSelector(top_share=0.4).select(candidates_of(table), [Budget(count=5)])
    assert found.score.tolist() == [2, 1, 1, 0, 0]
    assert found.rows.tolist()[0] == 2
    assert set(found.rows.tolist()[1:3]) == {0, 4}
    assert found.rows.tolist()[3:] == [3, 1]
    one = VotesSelector(("a",), top_share=0.4).select(candidates_of(table), [Budget(count=2)])
    assert one.rows.tolist() == [0, 2]


def test_wrong_features() -> None:
    table = featured(ppl=[1.0, 2.0])
    with pytest.raises(UserError, match="there is no feature 'clip'; there are ppl"):
        FeatureSelector("clip").select(candidates_of(table), [Budget(count=1)])
    with pytest.raises(UserError, match="needs feature tables"):
        VotesSelector().select(candidates_of(make_table([(0, [0], [1.0])])), [Budget(count=1)])
    for section, message in [
        ({"method": "feature", "feature": "x"}, "needs feature tables"),
        ({"method": "feature", "features": ("x.parquet",), "feature": ""}, "needs feature, the name"),
        ({"method": "feature", "features": ("x.parquet",)}, "feature is not set"),
        ({"method": "votes", "features": ("x.parquet",), "top_share": 0.0}, "top_share is 0"),
    ]:
        with pytest.raises(UserError, match=message):
            SelectionConfig.from_section(section, "here")
