"""The published methods as selectors: budgets, filters, explanations and the order of rows.

Their steps are tested in `test_method_steps.py`.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmssr_jax.core.errors import UserError
from mmssr_jax.selection.base import Budget, Candidates, Excluded
from mmssr_jax.selection.config import SelectionConfig
from mmssr_jax.selection.explain import explain
from mmssr_jax.selection.method import SelectionRun, Selector, load_method
from mmssr_jax.selection.methods.clip_score import ClipScoreSelector
from mmssr_jax.selection.methods.coincide import CoincideSelector
from mmssr_jax.selection.methods.deita import DeitaSelector
from mmssr_jax.selection.methods.e5v import E5vSelector
from mmssr_jax.selection.methods.icons import IconsSelector
from mmssr_jax.selection.methods.ppl import PerplexitySelector
from mmssr_jax.selection.methods.presel import PreselSelector
from mmssr_jax.selection.methods.rds_plus import RdsPlusSelector
from mmssr_jax.selection.methods.ready_made_ratings import ReadyMadeRatingsSelector
from mmssr_jax.selection.methods.scalselect import ScalSelectSelector
from mmssr_jax.selection.methods.visual_dependency import VisualDependencySelector
from mmssr_jax.selection.methods.xmas import XmasSelector
from mmssr_jax.selection.table import ScoreTable
from tests.selection.tables_for_tests import candidates_of, make_table, score_tables

TASKS = {"one": ("near_a", "near_b"), "two": ("near_c",)}
METHODS = [
    *(PerplexitySelector(take=take) for take in ("highest", "lowest", "middle", "window")),
    ClipScoreSelector(), ClipScoreSelector(minimum=0.2), ClipScoreSelector(datacomp=0.5),
    DeitaSelector(), DeitaSelector("turns", "turns"),
    CoincideSelector(("image", "text")), CoincideSelector(("image", "text"), clusters=3),
    IconsSelector(("near_a", "near_b"), {"merged": ("near_c", "nll")}), RdsPlusSelector(TASKS),
    RdsPlusSelector({"one": TASKS["one"]}, rule="maximum"), ScalSelectSelector("embedding"),
    E5vSelector(), E5vSelector(clusters=4), E5vSelector(rule="walk"),
    XmasSelector("trajectory", clusters=3), PreselSelector(), VisualDependencySelector(),
    ReadyMadeRatingsSelector(("rating",), 3), ReadyMadeRatingsSelector(("rating", "near_a"), 0, balance="sources"),
]  # fmt: skip


def with_features(table: ScoreTable) -> ScoreTable:
    """All features that the methods read, from the ids alone, with ties and gaps."""
    n = len(table)
    number = np.array([int(name[1:]) for name in table.ids.to_pylist()])
    rng = np.random.default_rng(0)
    vectors = {name: rng.normal(size=(200, d)) for name, d in (("embedding", 4), ("image", 5), ("text", 5))}
    features = {name: rows[number] for name, rows in vectors.items()}
    features["embedding"][number % 7 == 1] = features["embedding"][number % 7 == 1] * 0 + 0.5  # copies
    features["image"][number % 5 == 2] = np.nan
    numbers = rng.normal(size=(200, 8))
    names = ("nll", "nll_blind", "near_a", "near_b", "near_c", "quality", "complexity", "similarity")
    features |= {name: np.round(column[number], 1) for name, column in zip(names, numbers.T, strict=True)}
    features["similarity"][number % 6 == 3] = np.nan
    features["nll"][number % 9 == 4] = np.nan
    features["rating"] = 1.0 + number % 5
    features["turns"] = np.where(np.arange(3) <= (number % 3)[:, None], rng.uniform(size=(200, 3))[number], np.nan)
    features["trajectory"] = np.where((number % 4 == 3)[:, None], np.nan, rng.uniform(size=(200, 4))[number])
    known = np.zeros(n, bool)
    known[np.unique(table.source, return_index=True)[1]] = True
    features["loss_with_question"] = np.where(known, 1 + number % 3, np.nan)
    features["loss_without_question"] = np.where(known, 2.0, np.nan)
    return dataclasses.replace(table, features={k: v.astype(np.float32) for k, v in features.items()})


def reordered(table: ScoreTable, order: np.ndarray) -> ScoreTable:
    return dataclasses.replace(
        table,
        ids=table.ids.take(order),
        source=table.source[order],
        styles=table.styles[order],
        scores={k: v[order] for k, v in table.scores.items()},
        n_tokens=table.n_tokens[order],
        features={k: v[order] for k, v in table.features.items()},
    )


@pytest.mark.parametrize("selector", METHODS, ids=lambda s: type(s).__name__)
@settings(max_examples=20)
@given(table=score_tables(), count=st.integers(1, 40), data=st.data())
def test_budget_filters_caps_and_row_order(
    selector: Selector, table: ScoreTable, count: int, data: st.DataObject
) -> None:
    table = with_features(table)
    budget = Budget(count=min(count, len(table)))
    allowed = np.array(data.draw(st.lists(st.booleans(), min_size=len(table), max_size=len(table))))
    if isinstance(selector, PreselSelector):
        allowed |= ~np.isnan(table.features["loss_with_question"])  # it needs reference samples of every source
    caps = np.array(data.draw(st.lists(st.integers(0, 20), min_size=3, max_size=3)))
    found = selector.select(candidates_of(table, allowed=allowed, source_caps=caps), [budget])
    assert allowed[found.rows].all()
    assert len(set(found.rows.tolist())) == len(found) <= budget.count
    assert (np.bincount(table.source[found.rows], minlength=3) <= caps).all()
    everything = selector.select(candidates_of(table, allowed=allowed), [Budget(count=len(table))]).rows
    assert set(found.rows.tolist()) <= set(everything.tolist())
    if len(found) < budget.count:  # only where no eligible row is left in a source with room
        room = (np.bincount(table.source[found.rows], minlength=3) < caps)[table.source]
        assert not room[np.setdiff1d(everything, found.rows)].any()
    order = np.random.default_rng(count).permutation(len(table))
    turned = reordered(table, order)
    again = selector.select(candidates_of(turned, allowed=allowed[order], source_caps=caps), [budget])
    assert again.to_arrow(turned).equals(found.to_arrow(table))


@pytest.mark.parametrize("selector", METHODS, ids=lambda s: type(s).__name__)
def test_nested_budgets_and_explanations(selector: Selector) -> None:
    table = with_features(make_table([(i % 3, [0], [1.0]) for i in range(60)]))
    candidates = candidates_of(table)
    budgets = (Budget(count=8), Budget(count=20))
    both = selector.select(candidates, budgets)
    alone = selector.select(candidates, budgets[:1])
    np.testing.assert_array_equal(both.rows[: both.ends[0]], alone.rows)
    assert 0 < both.ends[0] <= 8 < both.ends[1] <= 20
    run = SelectionRun(selector, budgets, candidates, Excluded({}), both)
    for row in range(60):
        reason = explain(run, f"r{row}").reason
        assert reason.startswith("taken: " if row in both.rows else "not taken: ")


@pytest.mark.parametrize("selector", METHODS, ids=lambda s: type(s).__name__)
def test_a_missing_feature_is_one_line(selector: Selector) -> None:
    with pytest.raises(UserError, match=r"there is no feature|needs feature tables"):
        selector.select(candidates_of(make_table([(0, [0], [1.0])])), [Budget(count=1)])
    assert selector.needs.features is not None
    with pytest.raises(ValueError, match="needs feature tables"):
        SelectionConfig(selector)


@pytest.mark.parametrize("name", ["coincide", "icons", "xmas", "presel"])
def test_methods_with_quotas_need_a_number_of_samples(name: str) -> None:
    selector = next(m for m in METHODS if isinstance(m, load_method(name)))
    table = with_features(make_table([(i % 3, [0], [1.0]) for i in range(60)]))
    with pytest.raises(UserError, match="needs a budget of samples"):
        selector.select(candidates_of(table), [Budget(tokens=50)])


def test_rows_with_broken_vectors_are_named() -> None:
    table = with_features(make_table([(0, [0], [1.0])] * 9))
    table.features["embedding"][4, 1] = np.nan
    for selector in (DeitaSelector(), ScalSelectSelector("embedding"), PreselSelector()):
        with pytest.raises(UserError, match="id 'r4': its vector embedding has values that are not finite"):
            selector.select(candidates_of(table), [Budget(count=2)])


def test_presel_needs_a_reference_of_every_source() -> None:
    table = with_features(make_table([(i % 2, [0], [1.0]) for i in range(9)]))
    table.features["loss_with_question"][table.source == 1] = np.nan
    with pytest.raises(UserError, match="the source bio has no sample with both losses"):
        PreselSelector().select(candidates_of(table), [Budget(count=5)])


def reasons(selector: Selector, candidates: Candidates, count: int) -> dict[str, str]:
    budget = Budget(count=count)
    run = SelectionRun(selector, (budget,), candidates, Excluded({}), selector.select(candidates, [budget]))
    return {f"r{i}": explain(run, f"r{i}").reason for i in range(len(candidates.table))}


def test_ratings_of_other_turns_are_one_line() -> None:
    table = with_features(make_table([(0, [0], [1.0])] * 9))
    table.features["other"] = np.where(np.arange(9)[:, None] == 4, [1, 1, 1], table.features["turns"])
    with pytest.raises(UserError, match="differ in their numbers of turns; the first such id is 'r4'"):
        DeitaSelector("turns", "other").select(candidates_of(table), [Budget(count=2)])


def test_a_task_without_influences_is_one_line() -> None:
    table = with_features(make_table([(0, [0], [1.0])] * 9))
    table.features["near_b"][:] = np.nan
    with pytest.raises(UserError, match="no sample has an influence on the task near_b"):
        IconsSelector(("near_a", "near_b")).select(candidates_of(table), [Budget(count=2)])


def test_datacomp_keeps_the_rows_at_the_threshold() -> None:
    table = with_features(make_table([(0, [0], [1.0])] * 10))
    table.features["similarity"][:] = [0.9, 0.8, np.nan, 0.6, 0.6, 0.6, 0.3, 0.2, 0.1, 0.0]
    found = ClipScoreSelector(datacomp=0.3).select(candidates_of(table), [Budget(count=9)])
    assert sorted(found.rows.tolist()) == [0, 1, 3, 4, 5]  # place 3 holds 0.6


def test_scalselect_skips_vectors_of_zeros() -> None:
    table = with_features(make_table([(0, [0], [1.0])] * 9))
    table.features["embedding"][3] = 0
    selector = ScalSelectSelector("embedding")
    found = selector.select(candidates_of(table), [Budget(count=9)])
    assert sorted(found.rows.tolist()) == [0, 1, 2, 4, 5, 6, 7, 8]
    assert reasons(selector, candidates_of(table), 9)["r3"] == "not taken: it has no embedding"


def test_what_fills_up_a_budget_says_so() -> None:
    """Clusters of two are no clusters of XMAS: all its samples only fill up the budget."""
    table = make_table([(0, [0], [1.0])] * 4)
    trajectory = np.array([[0, 0], [0, 1], [90, 90], [90, 91]], np.float32)
    table = dataclasses.replace(table, features={"t": trajectory})
    selector = XmasSelector("t", clusters=2)
    for seed in range(9):
        found = selector.select(candidates_of(table, seed=seed), [Budget(count=3)])
        if found.round.tolist() == [2, 2, 2]:
            break
    else:
        pytest.fail("no seed gives two clusters of two")
    assert reasons(selector, candidates_of(table, seed=seed), 3)[f"r{found.rows[0]}"] == (
        "taken: pick 1 of 3 by the method xmas, to fill up the budget"
    )


def test_required_samples_count_as_kept_in_the_walks() -> None:
    table = with_features(make_table([(0, [0], [1.0])] * 4))
    table.features["embedding"] = np.array([[1, 0], [0, 1], [1, 0.1], [-1, 0]], np.float32)
    table.features["complexity"][:], table.features["quality"][:] = [9, 8, 1, 2], 1
    required = np.array([2])
    for selector in (DeitaSelector(), E5vSelector(rule="walk")):
        found = selector.select(candidates_of(table, required=required), [Budget(count=3)])
        assert found.rows[0] == 2
        assert 0 not in found.rows


def test_rds_plus_finds_the_queries_of_its_tasks() -> None:
    """Without `tasks` they are those of the columns' names, as the feature kind `weighted_states` writes them."""
    rng = np.random.default_rng(3)
    columns = {name: rng.normal(size=30).astype(np.float32) for name in ("b.x.0", "a.0", "b.x.1", "a.1")}
    table = dataclasses.replace(make_table([(0, [0], [1.0])] * 30), features=columns)
    named = RdsPlusSelector({"a": ("a.0", "a.1"), "b.x": ("b.x.0", "b.x.1")})
    found = RdsPlusSelector().select(candidates_of(table), [Budget(count=12)])
    np.testing.assert_array_equal(found.rows, named.select(candidates_of(table), [Budget(count=12)]).rows)
    with pytest.raises(UserError, match="rds_plus needs feature tables with similarities"):
        RdsPlusSelector().select(candidates_of(make_table([(0, [0], [1.0])] * 3)), [Budget(count=1)])


def test_explanations_in_words() -> None:
    columns = {
        "nll": [3.0, 2.0, 1.0, np.nan],
        "nll_blind": [3.5, 4.0, 1.0, 2.0],
        "complexity": [5.0, 4.0, 3.0, 1.0],
        "quality": [1.0, 1.0, 1.0, 1.0],
        "rating": [5.0, 2.0, 4.0, np.nan],
    }
    features = {name: np.array(values, np.float32) for name, values in columns.items()}
    features["embedding"] = np.array([[1, 0], [1, 0.01], [0, 1], [-1, 1]], np.float32)
    table = dataclasses.replace(make_table([(0, [0], [1.0])] * 4), features=features)
    gap = reasons(VisualDependencySelector(), candidates_of(table), 1)
    assert gap["r0"] == "not taken: its visual gap of 0.5 was not among the largest"
    assert gap["r2"] == "not taken: its visual gap of 0 is not above 0"
    assert gap["r3"] == "not taken: it has no nll or no nll_blind"
    deita = reasons(DeitaSelector(), candidates_of(table), 2)
    assert deita["r1"] == "not taken: it resembles r0, which was taken before it (cosine 1)"
    assert deita["r3"] == "not taken: its complexity times quality of 1 was not among the highest"
    rated = reasons(ReadyMadeRatingsSelector(("rating",), 3), candidates_of(table), 2)
    assert rated["r1"] == "not taken: its lowest rating of 2 is below 3"
    assert rated["r3"] == "not taken: one of its ratings is missing"


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ({"method": "ppl", "start": 1.0}, "start is 1; it must be at least 0 and below 1"),
        ({"method": "coincide", "parts": ("a",)}, "an image column and a text column for each layer"),
        ({"method": "coincide"}, "parts is not set"),
        ({"method": "coincide", "parts": ("a", "b"), "clusters": 0}, "clusters is 0"),
        ({"method": "scalselect", "feature": "x", "energy": 0.0}, "energy is 0"),
        ({"method": "xmas", "trajectory": "x", "clusters": 0}, "clusters is 0"),
        ({"method": "rds_plus", "tasks": {}}, "tasks is empty"),
        ({"method": "ready_made_ratings", "ratings": (), "minimum": 3}, "ratings is empty"),
        ({"method": "deita"}, "needs feature tables"),
    ],
)
def test_wrong_settings_are_one_line(section: dict[str, object], message: str) -> None:
    features = {} if section["method"] == "deita" else {"features": ("x.parquet",)}
    with pytest.raises(UserError, match=message) as caught:
        SelectionConfig.from_section({**section, **features}, "here")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["presel", "deita"])
def test_filters_that_leave_nothing_leave_an_empty_selection(name: str) -> None:
    selector = next(m for m in METHODS if isinstance(m, load_method(name)))
    table = with_features(make_table([(0, [0], [1.0])] * 3))
    assert len(selector.select(candidates_of(table, allowed=np.zeros(3, bool)), [Budget(count=1)])) == 0


def test_deita_of_a_table_without_rows() -> None:
    table = with_features(make_table([(0, [0], [1.0])] * 3))
    none = dataclasses.replace(
        table, ids=table.ids.slice(0, 0), source=table.source[:0], styles=table.styles[:0],
        scores={name: column[:0] for name, column in table.scores.items()}, n_tokens=None,
        features={name: column[:0] for name, column in table.features.items()},
    )  # fmt: skip
    assert len(DeitaSelector().select(candidates_of(none, pool_size=3), [Budget(count=1)])) == 0
