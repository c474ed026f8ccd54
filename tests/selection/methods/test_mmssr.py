"""mmSSR against its description, and what the settings promise."""

from __future__ import annotations

import dataclasses
import hashlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmssr_jax.core.errors import UserError
from mmssr_jax.selection import groups
from mmssr_jax.selection.base import Budget, Excluded, Selection
from mmssr_jax.selection.method import SelectionRun
from mmssr_jax.selection.methods.mmssr import MmssrSelector
from mmssr_jax.selection.table import ScoreTable
from tests.selection.tables_for_tests import candidates_of, make_table, reference, score_tables

THRESHOLDS = st.sampled_from([0.0, 0.5, 2.0])


@pytest.fixture(autouse=True)
def _small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(groups, "_SMALLEST_BLOCK", 2)  # so that small tables are read in several blocks too


def picks_of(selection: Selection) -> list[tuple[int, str, str, int]]:
    names = [selection.capability_names[c] for c in selection.capability]
    labels = [selection.group_names[g] for g in selection.group]
    return list(zip(selection.rows.tolist(), names, labels, selection.round.tolist(), strict=True))


@given(score_tables(), st.integers(1, 40), THRESHOLDS, st.booleans())
def test_equals_the_description(table: ScoreTable, count: int, threshold: float, cap_takes: bool) -> None:
    candidates = candidates_of(table)
    count = min(count, len(table))
    selector = MmssrSelector(threshold=threshold, cap_takes=cap_takes)
    found = selector.select(candidates, [Budget(count=count)])
    assert picks_of(found) == reference(candidates, table.capabilities, threshold, count, cap_takes=cap_takes)
    expected = [table.scores[c][row] for row, c, _, _ in picks_of(found)]
    np.testing.assert_array_equal(found.score, np.array(expected, np.float32))


@given(score_tables(), st.integers(1, 40), THRESHOLDS)
def test_random_takes_the_eligible_as_if_they_were_equal(table: ScoreTable, count: int, threshold: float) -> None:
    """Also where equal scores are ordered by the file; the scores that are recorded are the samples' own."""
    shuffled = candidates_of(table).tie
    by_file = candidates_of(table, tie=np.arange(len(table), dtype=np.uint64), shuffled=shuffled)
    equal = {name: np.where(column > threshold, np.float32(1), 0) for name, column in table.scores.items()}
    expected = reference(
        candidates_of(dataclasses.replace(table, scores=equal)), table.capabilities, 0.5, min(count, len(table)),
        cap_takes=True,
    )  # fmt: skip
    selector = MmssrSelector(threshold=threshold, take="random")
    found = selector.select(by_file, [Budget(count=min(count, len(table)))])
    assert picks_of(found) == expected
    np.testing.assert_array_equal(found.score, [table.scores[c][row] for row, c, _, _ in expected])


@given(score_tables(), st.integers(1, 40), THRESHOLDS)
def test_budget_is_met_when_it_can_be(table: ScoreTable, count: int, threshold: float) -> None:
    count = min(count, len(table))
    found = MmssrSelector(threshold=threshold).select(candidates_of(table), [Budget(count=count)])
    above = np.stack([c > threshold for c in table.scores.values()]).any(axis=0)
    eligible = above & (table.styles >= 0).any(axis=1) if table.styles.shape[1] else np.zeros(len(table), bool)
    assert len(found) == min(count, np.count_nonzero(eligible))
    assert len(set(found.rows.tolist())) == len(found)
    assert eligible[found.rows].all()


@given(score_tables(), st.integers(1, 150))
def test_budget_of_tokens_is_kept_and_used_up(table: ScoreTable, tokens: int) -> None:
    found = MmssrSelector(threshold=0.5).select(candidates_of(table), [Budget(tokens=tokens)])
    spent = int(table.n_tokens[found.rows].sum())
    assert spent <= tokens
    above = np.stack([c > 0.5 for c in table.scores.values()]).any(axis=0)
    eligible = above & (table.styles >= 0).any(axis=1) if table.styles.shape[1] else np.zeros(len(table), bool)
    eligible[found.rows] = False
    assert not (eligible & (table.n_tokens <= tokens - spent)).any()


@given(score_tables(), st.randoms(use_true_random=False), st.integers(1, 40))
def test_row_order_does_not_matter(table: ScoreTable, random: object, count: int) -> None:
    count = min(count, len(table))
    order = np.array(sorted(range(len(table)), key=lambda _: random.random()))  # type: ignore[attr-defined]
    shuffled = dataclasses.replace(
        table,
        ids=table.ids.take(order),
        source=table.source[order],
        styles=table.styles[order],
        scores={name: column[order] for name, column in table.scores.items()},
        n_tokens=table.n_tokens[order],
    )
    for budget in (Budget(count=count), Budget(tokens=3 * count)):
        first, second = (MmssrSelector().select(candidates_of(t), [budget]).to_arrow(t) for t in (table, shuffled))
        assert first.equals(second)


@given(score_tables(), st.lists(st.integers(1, 40), min_size=2, max_size=3), st.booleans())
def test_nested_budgets_are_nested(table: ScoreTable, counts: list[int], tokens: bool) -> None:
    counts = sorted(min(c, len(table)) for c in counts)
    budgets = [Budget(tokens=3 * c) if tokens else Budget(count=c) for c in counts]
    found = MmssrSelector().select(candidates_of(table), budgets)
    alone = MmssrSelector().select(candidates_of(table), budgets[:1])
    assert list(found.ends) == sorted(found.ends)
    assert picks_of(found)[: found.ends[0]] == picks_of(alone)
    for budget, end in zip(budgets, found.ends, strict=True):
        spent = table.n_tokens[found.rows[:end]].sum() if tokens else end
        assert spent <= (budget.tokens or budget.count)


@given(score_tables(), st.integers(1, 40), st.lists(st.integers(0, 4), min_size=3, max_size=3))
def test_source_caps(table: ScoreTable, count: int, caps: list[int]) -> None:
    count = min(count, len(table))
    capped = candidates_of(table, source_caps=np.array(caps))
    found = MmssrSelector().select(capped, [Budget(count=count)])
    per_source = np.bincount(table.source[found.rows], minlength=3)
    assert (per_source <= caps).all()
    open_sources = candidates_of(table, allowed=np.array(caps)[table.source] > per_source[table.source])
    rest = MmssrSelector().select(open_sources, [Budget(count=len(table))]).rows
    assert len(found) == count or set(rest.tolist()) <= set(found.rows.tolist())


@given(score_tables(), st.integers(1, 40), st.data())
def test_required_and_forbidden_rows(table: ScoreTable, count: int, data: st.DataObject) -> None:
    count = min(count, len(table))
    required = np.array(data.draw(st.lists(st.integers(0, len(table) - 1), unique=True, max_size=count)), np.int64)
    allowed = np.array(data.draw(st.lists(st.booleans(), min_size=len(table), max_size=len(table))))
    allowed[required] = True
    found = MmssrSelector().select(candidates_of(table, required=required, allowed=allowed), [Budget(count=count)])
    assert found.rows[: len(required)].tolist() == required.tolist()
    assert allowed[found.rows].all()
    assert len(set(found.rows.tolist())) == len(found) <= count


def one_group(scores: dict[str, list[float]]) -> ScoreTable:
    """One group, so that only the capabilities' shares matter."""
    columns = list(scores.values())
    return make_table([(0, [0], row) for row in zip(*columns, strict=True)])


def test_weights_share_the_budget() -> None:
    table = one_group({"a": [5.0] * 40, "b": [5.0] * 40})
    found = MmssrSelector(weights={"a": 3, "b": 1}).select(candidates_of(table), [Budget(count=20)])
    assert np.bincount(found.capability).tolist() == [15, 5]


def test_equal_weights_change_nothing() -> None:
    table = one_group({"a": [5.0, 1.0] * 20, "b": [4.0, 3.0] * 20, "c": [2.0, 2.5] * 20})
    plain = MmssrSelector().select(candidates_of(table), [Budget(count=17)])
    weighted = MmssrSelector(weights=dict.fromkeys("abc", 0.1)).select(candidates_of(table), [Budget(count=17)])
    assert picks_of(plain) == picks_of(weighted)


def test_a_weight_of_zero_switches_a_capability_off() -> None:
    table = one_group({"a": [5.0] * 10, "b": [5.0] * 10})
    found = MmssrSelector(weights={"a": 0}).select(candidates_of(table), [Budget(count=4)])
    assert found.capability_names == ("b",)
    assert len(found) == 4


def test_thresholds_are_strict_and_per_capability() -> None:
    table = one_group({"a": [3.0, 3.1, 2.0, 5.0], "b": [1.0, 0.0, 1.0, 0.0]})
    found = MmssrSelector(threshold=3.0, thresholds={"b": 0.5}).select(candidates_of(table), [Budget(count=4)])
    assert sorted((found.capability_names[c], int(r)) for r, c in zip(found.rows, found.capability, strict=True)) == [
        ("a", 1),
        ("a", 3),
        ("b", 0),
        ("b", 2),
    ]


def test_capabilities_choose_in_the_order_given() -> None:
    table = one_group({"a": [5.0, 4.0], "b": [5.0, 4.0]})
    first = MmssrSelector(("b", "a")).select(candidates_of(table), [Budget(count=2)])
    assert picks_of(first) == [(0, "b", "v+art", 1), (1, "a", "v+art", 1)]


@given(score_tables(), st.integers(1, 40), st.lists(st.sampled_from([0.0, 0.5, 2.0, 4.5]), min_size=3, max_size=3))
def test_every_pick_is_above_its_capabilitys_threshold(table: ScoreTable, count: int, values: list[float]) -> None:
    thresholds = dict(zip(table.capabilities, values, strict=False))
    found = MmssrSelector(thresholds=thresholds).select(candidates_of(table), [Budget(count=min(count, len(table)))])
    for row, capability, group, _ in picks_of(found):
        assert table.scores[capability][row] > thresholds[capability]
        style, source = group.split("+")
        assert source == table.source_names[table.source[row]]
        assert style in [table.style_names[s] for s in table.styles[row] if s >= 0]


@given(st.lists(st.integers(0, 7), min_size=3, max_size=3).filter(any), st.integers(1, 60))
def test_shares_follow_the_weights(weights: list[int], count: int) -> None:
    table = one_group({"a": [5.0] * 200, "b": [4.0] * 200, "c": [3.0] * 200})
    found = MmssrSelector(weights=dict(zip("abc", weights, strict=True))).select(
        candidates_of(table), [Budget(count=count)]
    )
    assert len(found) == count
    for name, weight in zip("abc", weights, strict=True):
        exact = count * weight / sum(weights)
        chosen = sum(1 for _, c, _, _ in picks_of(found) if c == name)
        assert abs(chosen - exact) < 3 if weight else chosen == 0  # every round's floors go to the first ones


@pytest.mark.parametrize(("integer", "digest"), [(False, "7c027bc5c9f4735c"), (True, "6221dba9db396612")])
def test_the_same_picks_on_every_machine(integer: bool, digest: str) -> None:
    """With ties everywhere the official program picks sets that overlap by half between processors."""
    rng = np.random.default_rng(np.random.Philox(7))
    draws = rng.integers(0, 2**20, (3, 4000)) * 5 / 2**20
    scores = np.rint(draws) if integer else draws
    styles, sources = rng.integers(0, 4, 4000), rng.integers(0, 3, 4000)
    table = make_table([(int(b), [int(a)], s) for a, b, s in zip(styles, sources, scores.T.tolist(), strict=True)])
    found = MmssrSelector().select(candidates_of(table), [Budget(count=400)]).to_arrow(table)
    assert hashlib.sha256(" ".join(found["id"].to_pylist()).encode()).hexdigest()[:16] == digest


@pytest.mark.parametrize(
    ("selector", "message"),
    [
        (MmssrSelector(("a", "z")), "no capability 'z'"),
        (MmssrSelector(("a", "a")), "named twice"),
        (MmssrSelector(weights={"a": -1.0}), "below 0"),
        (MmssrSelector(weights={"a": 0.0}), "no capability has a weight above 0"),
        (MmssrSelector(thresholds={"z": 1.0}), "no capability 'z'"),
    ],
)
def test_wrong_settings(selector: MmssrSelector, message: str) -> None:
    with pytest.raises(UserError, match=message):
        selector.select(candidates_of(one_group({"a": [1.0, 2.0]})), [Budget(count=1)])


def test_more_required_rows_than_the_budget() -> None:
    candidates = candidates_of(one_group({"a": [1.0, 2.0, 3.0]}), required=np.array([0, 1]))
    for budget in (Budget(count=1), Budget(tokens=2)):
        with pytest.raises(UserError, match="2 required samples"):
            MmssrSelector().select(candidates, [budget])


@given(score_tables(), st.integers(1, 40), st.sampled_from([0.0, 0.25, 0.5, 0.9]))
def test_a_quantile_is_the_threshold_of_each_capability(table: ScoreTable, count: int, quantile: float) -> None:
    """The same picks as with the thresholds written out, and the same answer to "what score would it have needed"."""
    candidates, budgets = candidates_of(table), (Budget(count=min(count, len(table))),)
    known = {name: np.sort(column[~np.isnan(column)]) for name, column in table.scores.items()}
    thresholds = {n: _threshold(c, quantile) for n, c in known.items()}
    runs = []
    for selector in (MmssrSelector(threshold_quantile=quantile), MmssrSelector(thresholds=thresholds)):
        runs.append(SelectionRun(selector, budgets, candidates, Excluded({}), selector.select(candidates, budgets)))
    assert picks_of(runs[0].selection) == picks_of(runs[1].selection)
    assert runs[0].selector.report(runs[0]) == {f"threshold {n}": v for n, v in thresholds.items()}
    for row in np.setdiff1d(np.arange(len(table)), runs[0].selection.rows)[:3]:
        assert runs[0].selector.needed_scores(runs[0], row) == runs[1].selector.needed_scores(runs[1], row)


def _threshold(known: np.ndarray, quantile: float) -> float:
    """The definition, one candidate after the other: the highest score above which the share lies, or the lowest."""
    if not len(known):
        return 0.5
    share = len(known) - 1 - int(quantile * (len(known) - 1))
    return float(max((v for v in known if np.sum(known > v) >= share), default=known[0]))


def test_equal_scores_at_a_quantile_are_eligible() -> None:
    """Three samples have the highest score that a calibration can give: the best quarter is these three, not none."""
    table = one_group({"a": [1.0, 2.0, 3.0, 4.0, 4.5, 5.0, 5.0, 5.0], "b": [0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 2.0]})
    selector = MmssrSelector(threshold_quantile=0.75)
    assert [selector.threshold_of(table, name) for name in "ab"] == [4.5, 0.0]
    assert MmssrSelector(threshold_quantile=0.4).threshold_of(table, "a") == 3.0
    chosen = selector.select(candidates_of(table), [Budget(count=6)])
    assert sorted(chosen.rows.tolist()) == [5, 6, 7]


def test_a_quantile_has_a_lower_bound() -> None:
    """Capability a's quantile, 3, is above the bound, b's, 1, below it: the sample with 2 of b is not eligible."""
    table = one_group({"a": [1.0, 3.0, 4.0, 5.0], "b": [1.0, 1.0, 1.0, 2.0]})
    bounded = MmssrSelector(threshold_quantile=0.5, least_threshold=2.5)
    assert [bounded.threshold_of(table, name) for name in "ab"] == [3.0, 2.5]
    assert MmssrSelector(threshold_quantile=0.5).threshold_of(table, "b") == 1.0
    candidates, budgets = candidates_of(table), (Budget(count=1),)
    run = SelectionRun(bounded, budgets, candidates, Excluded({}), bounded.select(candidates, budgets))
    assert run.selection.rows.tolist() == [3], "of a, the best"
    assert bounded.needed_scores(run, 2) == {"a": 5.0, "b": None}
    with pytest.raises(ValueError, match="least_threshold bounds a threshold_quantile, which is not set"):
        MmssrSelector(least_threshold=1.0)


def test_a_quantile_is_below_one() -> None:
    with pytest.raises(ValueError, match="threshold_quantile is 1; it must be at least 0 and below 1"):
        MmssrSelector(threshold_quantile=1.0)
