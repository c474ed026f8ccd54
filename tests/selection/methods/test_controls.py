"""What each control keeps of the selection it is compared with, and what it breaks."""

from __future__ import annotations

import dataclasses
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmssr_jax.core.errors import UserError
from mmssr_jax.selection.base import Budget, Candidates, Excluded
from mmssr_jax.selection.candidates import build
from mmssr_jax.selection.cells import cells
from mmssr_jax.selection.config import SelectionConfig
from mmssr_jax.selection.explain import explain
from mmssr_jax.selection.method import SelectionRun, Selector
from mmssr_jax.selection.methods.arg_max import ArgMaxSelector
from mmssr_jax.selection.methods.contested import ContestedSelector
from mmssr_jax.selection.methods.deduplicated import DeduplicatedSelector
from mmssr_jax.selection.methods.matched import MatchedSelector
from mmssr_jax.selection.methods.mmssr import MmssrSelector
from mmssr_jax.selection.methods.oracle import OracleSelector
from mmssr_jax.selection.methods.oracle_rating import OracleRatingSelector
from mmssr_jax.selection.methods.placebo import PlaceboSelector
from mmssr_jax.selection.methods.proportional import ProportionalSelector
from mmssr_jax.selection.methods.random import RandomSelector
from mmssr_jax.selection.methods.rating_threshold import RatingThresholdSelector
from mmssr_jax.selection.methods.regrouped import RegroupedSelector
from mmssr_jax.selection.methods.reversed import ReversedSelector
from mmssr_jax.selection.methods.unflawed import UnflawedSelector
from mmssr_jax.selection.table import ScoreTable
from tests.selection.tables_for_tests import candidates_of, make_table, score_tables

COUNTS = st.integers(1, 40)
SEEDS = st.integers(0, 5)
CONTROLS = [
    ProportionalSelector(), MatchedSelector("other"), MatchedSelector("other", length_deciles=True), PlaceboSelector(),
    ReversedSelector(), OracleSelector(), RatingThresholdSelector(), RatingThresholdSelector(("a",), minimum=2.0),
    DeduplicatedSelector(), MatchedSelector("other", cells="contested"), ContestedSelector("other"),
    UnflawedSelector(), OracleRatingSelector(), RegroupedSelector(groups="styles"), RegroupedSelector(groups="sources"),
    RegroupedSelector(),
]  # fmt: skip


def run(selector: Selector, candidates: Candidates, budget: Budget) -> SelectionRun:
    selection = selector.select(candidates, [budget])
    return SelectionRun(selector, (budget,), candidates, Excluded({"by hand": ~candidates.allowed}), selection)


def cell_names(table: ScoreTable) -> list[tuple[int, frozenset[int]]]:
    return [(int(s), frozenset(row[row >= 0].tolist())) for s, row in zip(table.source, table.styles, strict=True)]


def shuffled(table: ScoreTable, order: np.ndarray) -> ScoreTable:
    return dataclasses.replace(
        table,
        ids=table.ids.take(order),
        source=table.source[order],
        styles=table.styles[order],
        scores={k: v[order] for k, v in table.scores.items()},
        n_tokens=table.n_tokens[order],
    )


@pytest.mark.parametrize("selector", CONTROLS, ids=str)
@given(table=score_tables(), count=COUNTS, seed=SEEDS, data=st.data())
def test_every_control_keeps_budget_and_filters_and_ignores_the_row_order(
    selector: Selector, table: ScoreTable, count: int, seed: int, data: st.DataObject
) -> None:
    budget = Budget(count=min(count, len(table)))
    allowed = np.array(data.draw(st.lists(st.booleans(), min_size=len(table), max_size=len(table))))
    reference = RandomSelector().select(candidates_of(table, allowed=allowed), [budget]).rows
    candidates = candidates_of(table, seed=seed, allowed=allowed, reference=reference)
    candidates = dataclasses.replace(candidates, seed=seed)
    found = selector.select(candidates, [budget])
    assert allowed[found.rows].all()
    assert len(set(found.rows.tolist())) == len(found) <= budget.count
    order = np.random.default_rng(count).permutation(len(table))
    back = np.argsort(order)
    turned = candidates_of(shuffled(table, order), seed=seed, allowed=allowed[order], reference=back[reference])
    again = selector.select(dataclasses.replace(turned, seed=seed), [budget])
    assert again.to_arrow(turned.table).equals(found.to_arrow(table))
    for row in range(len(table)):
        reason = explain(run(selector, candidates, budget), f"r{row}").reason
        assert reason.startswith("taken" if row in found.rows else "not taken: ")


@given(score_tables())
def test_cells_are_source_and_whole_style_set(table: ScoreTable) -> None:
    names, codes = cell_names(table), cells(table).tolist()
    assert len(set(zip(names, codes, strict=True))) == len(set(names)) == len(set(codes))
    deciles = cells(table, length_deciles=True)
    assert len(set(zip(codes, deciles.tolist(), strict=True))) == len(set(deciles.tolist()))


@given(score_tables(), COUNTS, SEEDS, st.booleans())
def test_matched_takes_as_many_from_every_cell(table: ScoreTable, count: int, seed: int, deciles: bool) -> None:
    budget = Budget(count=min(count, len(table)))
    reference = MmssrSelector().select(candidates_of(table), [budget]).rows
    candidates = dataclasses.replace(candidates_of(table, seed=seed, reference=reference), seed=seed)
    result = run(MatchedSelector("mmssr", length_deciles=deciles), candidates, budget)
    rows, cell = result.selection.rows, cells(table, length_deciles=deciles)
    assert Counter(cell[rows].tolist()) == Counter(cell[reference].tolist())
    names = cell_names(table)
    assert Counter(names[r] for r in rows) == Counter(names[r] for r in reference)
    report = result.selector.report(result)
    both = len(set(rows.tolist()) & set(reference.tolist()))
    union = 2 * len(rows) - both
    assert report["jaccard"] == (both / union if union else 1.0)
    size, taken = Counter(cell.tolist()), Counter(cell[reference].tolist())
    exhausted = sum(n for c, n in taken.items() if n == size[c])
    assert report["exhausted_share"] == pytest.approx(exhausted / len(rows) if len(rows) else 0.0)
    assert exhausted <= both
    elsewhere = 2 * (len(rows) - exhausted) - (both - exhausted)
    assert report["contested_jaccard"] == ((both - exhausted) / elsewhere if elsewhere else 1.0)


@given(score_tables(), COUNTS, SEEDS)
def test_contested_cells_are_those_where_the_reference_had_a_choice(table: ScoreTable, count: int, seed: int) -> None:
    """Both halves hold the same cells with the same counts, and what they leave out is the same in the whole two."""
    budget = Budget(count=min(count, len(table)))
    reference = MmssrSelector().select(candidates_of(table), [budget]).rows
    candidates = dataclasses.replace(candidates_of(table, seed=seed, reference=reference), seed=seed)
    own = ContestedSelector("mmssr").select(candidates, [budget]).rows
    control = MatchedSelector("mmssr", cells="contested").select(candidates, [budget]).rows
    whole = MatchedSelector("mmssr").select(candidates, [budget]).rows
    names = cell_names(table)
    size, taken = Counter(names), Counter(names[r] for r in reference)
    assert own.tolist() == [r for r in reference.tolist() if taken[names[r]] < size[names[r]]]
    assert Counter(names[r] for r in control) == Counter(names[r] for r in own)
    assert set(whole.tolist()) - set(control.tolist()) == set(reference.tolist()) - set(own.tolist())


EQUAL_IN_TOKENS = [
    MmssrSelector(threshold=0.0), RandomSelector(), ProportionalSelector(), MatchedSelector("other"),
    MatchedSelector("other", length_deciles=True), PlaceboSelector(threshold=0.0), ReversedSelector(threshold=0.0),
    OracleSelector(threshold=0.0), RatingThresholdSelector(), DeduplicatedSelector(),
]  # fmt: skip


@pytest.mark.parametrize("selector", EQUAL_IN_TOKENS, ids=str)
@given(seed=SEEDS, share=st.floats(0.1, 0.5))
@settings(max_examples=8)
def test_equal_budgets_of_tokens_are_equal_within_one_percent(selector: Selector, seed: int, share: float) -> None:
    rng = np.random.default_rng(seed)
    rows = [
        (int(rng.integers(3)), rng.permutation(4)[: rng.integers(1, 3)].tolist(), rng.uniform(0.5, 4.5, 3).tolist())
        for _ in range(600)
    ]
    table = dataclasses.replace(make_table(rows), n_tokens=rng.integers(5, 80, 600).astype(np.int32))
    budget = Budget(tokens=int(share * table.n_tokens.sum()))
    candidates = dataclasses.replace(candidates_of(table, seed=seed), seed=seed)
    reference = MmssrSelector(threshold=0.0).select(candidates, [budget]).rows
    found = selector.select(dataclasses.replace(candidates, reference=reference), [budget])
    assert 0.99 * budget.tokens <= table.n_tokens[found.rows].sum() <= budget.tokens


def test_matched_is_uniform_inside_a_cell() -> None:
    table = make_table([(0, [0], [1.0])] * 40)
    hits = np.zeros(40)
    for seed in range(300):
        candidates = dataclasses.replace(candidates_of(table, reference=np.arange(10)), seed=seed)
        hits[MatchedSelector("x").select(candidates, [Budget(count=10)]).rows] += 1
    assert hits.sum() == 3000
    assert 40 < hits.min() <= hits.max() < 115  # 75 expected, standard deviation 7.5


def test_matched_counts_required_rows_and_needs_a_reference() -> None:
    table = make_table([(0, [0], [1.0])] * 6 + [(1, [0], [1.0])] * 6)
    candidates = candidates_of(table, reference=np.array([0, 1, 2, 6]), required=np.array([3]))
    rows = MatchedSelector("x").select(candidates, [Budget(count=4)]).rows
    assert rows[0] == 3
    assert np.bincount(table.source[rows]).tolist() == [3, 1]
    with pytest.raises(UserError, match="needs the picks of the selection"):
        MatchedSelector("x").select(candidates_of(table), [Budget(count=4)])
    with pytest.raises(UserError, match="needs like, the name"):
        SelectionConfig.from_section({"method": "matched", "like": ""}, "here")


@given(score_tables(), SEEDS)
def test_placebo_permutes_every_column_inside_the_cells(table: ScoreTable, seed: int) -> None:
    permuted = PlaceboSelector().rescored(dataclasses.replace(candidates_of(table), seed=seed))
    names = cell_names(table)
    for capability, column in table.scores.items():
        for cell in set(names):
            rows = [i for i, name in enumerate(names) if name == cell]
            before, after = np.sort(column[rows]), np.sort(permuted.scores[capability][rows])
            np.testing.assert_array_equal(before, after)


def test_placebo_permutes_columns_independently_and_by_the_seed() -> None:
    table = make_table([(0, [0], [i / 100, i / 100]) for i in range(100)])
    one, two = (PlaceboSelector().rescored(dataclasses.replace(candidates_of(table), seed=s)) for s in (0, 1))
    assert (one.scores["a"] != table.scores["a"]).sum() > 90
    assert (one.scores["a"] != one.scores["b"]).sum() > 90
    assert (one.scores["a"] != two.scores["a"]).sum() > 90


@given(score_tables(), COUNTS)
def test_placebo_leaves_scores_that_are_equal_inside_cells(table: ScoreTable, count: int) -> None:
    column = np.array([1 + len(styles) % 3 for _, styles in cell_names(table)], np.float32)
    table = dataclasses.replace(table, scores={"a": column})
    budget = Budget(count=min(count, len(table)))
    picks = [s.select(candidates_of(table), [budget]).rows.tolist() for s in (MmssrSelector(), PlaceboSelector())]
    assert picks[0] == picks[1]


@given(score_tables(), COUNTS, st.sampled_from([0.0, 0.5, 2.0]))
def test_reversed_is_mmssr_on_five_minus_the_score(table: ScoreTable, count: int, threshold: float) -> None:
    budget = Budget(count=min(count, len(table)))
    found = ReversedSelector(threshold=threshold).select(candidates_of(table), [budget])
    mirrored = dataclasses.replace(table, scores={k: np.float32(5) - v for k, v in table.scores.items()})
    expected = MmssrSelector(threshold=threshold).select(candidates_of(mirrored), [budget])
    assert found.to_arrow(table).equals(expected.to_arrow(mirrored))
    picked = [table.scores[found.capability_names[c]][r] for r, c in zip(found.rows, found.capability, strict=True)]
    assert all(5 - score > threshold for score in picked)


@given(score_tables(), COUNTS, st.sampled_from([0.0, 2.0]))
def test_rating_threshold_takes_the_highest_means(table: ScoreTable, count: int, minimum: float) -> None:
    means = []
    for scores in np.stack(list(table.scores.values()), axis=1).astype(np.float64):
        known = scores[~np.isnan(scores)]
        means.append(known.mean() if len(known) else np.nan)
    mean = np.array(means)
    eligible = mean >= minimum
    budget = Budget(count=min(count, len(table)))
    found = RatingThresholdSelector(minimum=minimum).select(candidates_of(table), [budget])
    assert len(found) == min(budget.count, np.count_nonzero(eligible))
    np.testing.assert_allclose(found.score, mean[found.rows], rtol=1e-6)
    rest = np.setdiff1d(np.flatnonzero(eligible), found.rows)
    assert len(rest) == 0 or len(found) == 0 or mean[found.rows].min() >= mean[rest].max() - 1e-6
    assert (np.diff(found.score) <= 1e-6).all()


@given(st.lists(st.integers(0, 2), min_size=1, max_size=60), COUNTS)
def test_proportional_keeps_the_shares_of_the_sources(sources: list[int], count: int) -> None:
    table = make_table([(s, [0], [1.0]) for s in sources])
    count = min(count, len(sources))
    found = ProportionalSelector().select(candidates_of(table), [Budget(count=count)])
    share = np.bincount(sources, minlength=3) * count / len(sources)
    assert (np.abs(np.bincount(table.source[found.rows], minlength=3) - share) <= 1).all()


def test_needs_of_the_controls() -> None:
    assert OracleSelector().needs.truth
    assert OracleRatingSelector().needs.truth
    assert ArgMaxSelector(("a", "b")).needs.features == ("a", "b")
    assert MatchedSelector("x").needs.selection == "x"
    with pytest.raises(UserError, match="the method deduplicated needs near_duplicates"):
        SelectionConfig.from_section({"method": "deduplicated"}, "here")
    config = SelectionConfig.from_section({"method": "deduplicated", "near_duplicates": {}}, "here")
    assert not config.needs_scores


def test_unflawed_takes_only_samples_above_the_cap_of_flaws() -> None:
    scores = [(1.0, 0.0), (4.0, 1.0), (0.0, 1.0), (1.0, 3.0), (3.0, None)]
    taken = run(UnflawedSelector(), candidates_of(make_table([(0, [0], row) for row in scores])), Budget(count=5))
    assert sorted(taken.selection.rows.tolist()) == [1, 3, 4]
    assert "flawed" in taken.selector.why_not(taken, 0)


@given(score_tables(), COUNTS)
def test_regrouped_is_mmssr_on_a_table_that_cannot_tell_styles_or_sources(table: ScoreTable, count: int) -> None:
    budget = Budget(count=min(count, len(table)))
    one_style = dataclasses.replace(table, styles=np.where(table.styles[:, :1] >= 0, 0, -1), style_names=("v",))
    one_source = dataclasses.replace(table, source=np.zeros_like(table.source), source_names=("art",))
    for groups, coarser in (("sources", one_style), ("styles", one_source)):
        found = RegroupedSelector(groups=groups).select(candidates_of(table), [budget])
        assert found.rows.tolist() == MmssrSelector().select(candidates_of(coarser), [budget]).rows.tolist()
    best = RegroupedSelector(capabilities=("a",)).select(candidates_of(table), [budget])
    assert (np.diff(best.score) <= 0).all()  # without groups, one capability's picks are its best in order


def test_regrouped_without_sources_refuses_caps_of_sources() -> None:
    candidates = candidates_of(make_table([(0, [0], [1.0])]), source_caps=np.array([1, 1, 1]))
    with pytest.raises(UserError, match="does not use sources"):
        RegroupedSelector(groups="styles").select(candidates, [Budget(count=1)])
    assert len(RegroupedSelector(groups="sources").select(candidates, [Budget(count=1)])) == 1


def test_arg_max_selects_by_the_digits() -> None:
    table = make_table([(0, [0], [4.4]), (0, [0], [4.6]), (0, [0], [4.5])])
    table = dataclasses.replace(table, features={"a": np.array([5, 3, 4], np.float32)})
    expected = run(MmssrSelector(), candidates_of(table), Budget(count=2)).selection
    digits = run(ArgMaxSelector(("a",)), candidates_of(table), Budget(count=2)).selection
    assert expected.rows.tolist() == [1, 2]
    assert digits.rows.tolist() == [0, 2]
    assert digits.score.tolist() == [5, 4]


def test_the_oracle_rating_is_the_highest_mean() -> None:
    table = make_table([(0, [0], [1.0, 5.0]), (1, [1], [4.0, 4.0]), (2, [], [0.0, 0.0])])
    taken = run(OracleRatingSelector(), candidates_of(table), Budget(count=2)).selection
    assert taken.rows.tolist() == [1, 0]


@pytest.mark.parametrize("name", ["random", "stratified"])
def test_random_is_random_also_where_equal_scores_go_by_the_file(name: str) -> None:
    """1,000 rows of ten sources in blocks: a draw of 100 is not the head of the file, and the seed changes it."""
    table = make_table([(source, [0], [1.0]) for source in range(10) for _ in range(100)])
    drawn = {}
    for tie_break in ("hash", "file"):
        for seed in (0, 1):
            section = {"method": name, "budget": {"count": 100}, "tie_break": tie_break, "seed": seed}
            config = SelectionConfig.from_section(section, "x")
            candidates, _ = build(table, config, pool_size=len(table))
            drawn[tie_break, seed] = config.selector.select(candidates, [config.budget]).rows.tolist()
    assert drawn["file", 0] == drawn["hash", 0]
    assert drawn["file", 0] != drawn["file", 1]
    assert len(set(table.source[drawn["file", 0]].tolist())) == 10


def test_replaced_scores_are_computed_once_for_all_explanations(monkeypatch: pytest.MonkeyPatch) -> None:
    table = make_table([(row % 3, [row % 2], [float(row % 6)]) for row in range(60)])
    made = run(PlaceboSelector(), candidates_of(table), Budget(count=5))
    calls = []
    plain = PlaceboSelector.rescored
    monkeypatch.setattr(PlaceboSelector, "rescored", lambda self, c: calls.append(1) or plain(self, c))
    assert len({explain(made, f"r{row}").reason for row in range(60)}) > 2
    assert len(calls) == 1
