"""Explanations hold: a pick's reason is the one in the table, and the needed score is exactly the needed score."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmssr_jax.core.errors import UserError
from mmssr_jax.selection.base import Budget, Excluded
from mmssr_jax.selection.config import SelectionConfig
from mmssr_jax.selection.explain import explain
from mmssr_jax.selection.method import SelectionRun, load_method
from mmssr_jax.selection.methods.mmssr import MmssrSelector
from mmssr_jax.selection.run_selection import run_selection
from mmssr_jax.selection.table import ScoreTable

from .tables_for_tests import candidates_of, make_table, score_tables


def derived_from(table: ScoreTable, config: SelectionConfig, **changes: object) -> SelectionRun:
    """Without the check that small random columns are not constant."""
    candidates, budgets = candidates_of(table, **changes), config.all_budgets()
    selection = config.selector.select(candidates, budgets)
    return SelectionRun(config.selector, budgets, candidates, Excluded({"by hand": ~candidates.allowed}), selection)


def with_score(derived: SelectionRun, row: int, capability: str, score: float) -> set[int]:
    column = derived.table.scores[capability].copy()
    column[row] = score
    table = dataclasses.replace(derived.table, scores={**derived.table.scores, capability: column})
    return set(derived.again(table).rows.tolist())


def budgets(count: int, rows: int, kind: str) -> dict[str, Budget]:
    if kind == "tokens":
        return {"one": Budget(tokens=count)}
    sizes = {"one": count} if kind == "count" else {"small": max(count // 2, 1), "large": count}
    return {name: Budget(count=min(size, rows)) for name, size in sizes.items()}


@given(
    score_tables(max_rows=25),
    st.integers(1, 25),
    st.sampled_from(["count", "tokens", "nested"]),
    st.sampled_from([0.0, 0.5, 2.0]),
    st.booleans(),
    st.one_of(st.none(), st.lists(st.integers(0, 4), min_size=3, max_size=3)),
    st.sampled_from([None, "random"]),
    st.data(),
)
def test_needed_score_is_exact(
    table: ScoreTable,
    count: int,
    kind: str,
    threshold: float,
    cap_takes: bool,
    caps: list[int] | None,
    take: str | None,
    data: st.DataObject,
) -> None:
    selector = MmssrSelector(threshold=threshold, cap_takes=cap_takes, take=take)  # type: ignore[arg-type]
    config = SelectionConfig(selector, budgets=budgets(count, len(table), kind), nested=kind == "nested")
    derived = derived_from(table, config, source_caps=None if caps is None else np.array(caps))
    row = data.draw(st.integers(0, len(table) - 1))
    found = explain(derived, f"r{row}")
    for capability, needed in found.needed.items():
        if needed is None:
            assert row not in with_score(derived, row, capability, 5.0)
            continue
        assert row in with_score(derived, row, capability, needed)
        below = float(np.nextafter(np.float32(needed), np.float32(0)))
        assert row not in with_score(derived, row, capability, below)
        higher = data.draw(st.floats(needed, 5.0, width=32))
        assert row in with_score(derived, row, capability, higher)


@given(score_tables(), st.integers(1, 40), st.sampled_from(["best", "random"]))
def test_reasons_are_those_of_the_selection(table: ScoreTable, count: int, take: str) -> None:
    selector = MmssrSelector(take=take)  # type: ignore[arg-type]
    config = SelectionConfig(selector, budget=Budget(count=min(count, len(table))))
    derived = derived_from(table, config)
    picks = {row["id"]: row for row in derived.selection.to_arrow(table).to_pylist()}
    for row in range(len(table)):
        found = explain(derived, f"r{row}", counterfactual=False)
        assert found.taken == (found.id in picks)
        if found.taken:
            pick = picks[found.id]
            assert (found.capability, found.group, found.round) == (pick["capability"], pick["group"], pick["round"])
            assert found.score == pick["score"]
            (standing,) = [s for s in found.standings if (s.capability, s.group) == (found.capability, found.group)]
            assert standing.rank is not None
            assert 1 <= standing.rank <= standing.eligible


def test_rank_counts_earlier_slots_first() -> None:
    table = make_table([(0, [0], [2.0]), (0, [1, 0], [5.0]), (0, [0], [1.0]), (0, [0], [0.0])])
    derived = derived_from(table, SelectionConfig(budget=Budget(count=1)))
    ranks = {s.group: s.rank for s in explain(derived, "r1").standings}
    assert ranks == {"w+art": 1, "v+art": 3}


def test_one_line_for_each_fate() -> None:
    rows = [(0, [0], [4.0]), (0, [0], [3.0]), (0, [0], [0.1]), (0, [], [5.0]), (1, [0], [5.0]), (0, [0], [5.0])]
    table = make_table(rows)
    allowed = np.array([True] * 4 + [False, True])
    config = SelectionConfig(budget=Budget(count=2))
    derived = derived_from(table, config, allowed=allowed, required=np.array([5]))
    reasons = {f"r{i}": explain(derived, f"r{i}").reason for i in range(6)}
    assert reasons == {
        "r0": "taken in round 1 for a, score 4: rank 2 of 3 in the group v+art",
        "r1": "not taken: rank 3 of 3 for a in the group v+art, which gave 1 down to a score of 4; it has 3",
        "r2": "not taken: no score of it is above the threshold",
        "r3": "not taken: it has no style, so it is in no group",
        "r4": "not taken: it was not a candidate (by hand)",
        "r5": "taken: it was required by its id",
    }
    with pytest.raises(UserError, match="'r9' is not among the 6 scored"):
        explain(derived, "r9")


def test_a_random_order_is_told() -> None:
    table = make_table([(0, [0], [score]) for score in (3.0, 5.0, 4.0, 0.1)])
    derived = derived_from(table, SelectionConfig(MmssrSelector(take="random"), budget=Budget(count=1)))
    order = np.argsort(candidates_of(table).tie[:3]).tolist()
    first, last = order[0], order[2]
    assert derived.selection.rows.tolist() == [first]
    score = (3, 5, 4)[first]
    assert explain(derived, f"r{first}").reason == (
        f"taken in round 1 for a, score {score}: rank 1 of 3 in the group v+art"
    )
    told = explain(derived, f"r{last}")
    assert told.reason == "not taken: number 3 in the random order of 3 for a in the group v+art, which gave 1"
    assert told.needed == {"a": None}, "no score helps a sample that is eligible already"


def test_rivals_explain_themselves() -> None:
    table = make_table([(i % 2, [0], [float(i % 5)]) for i in range(10)])
    for method in ("random", "stratified", "length"):
        derived = run_selection(
            table, SelectionConfig(load_method(method)(), budget=Budget(count=4)), Budget(count=4), pool_size=10
        )
        taken = [explain(derived, f"r{i}").taken for i in range(10)]
        assert sum(taken) == 4
        assert explain(derived, f"r{taken.index(False)}").reason.startswith("not taken: ")
