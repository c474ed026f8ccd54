"""Mixtures: exact shares at any position, random access, the same order whoever reads it."""

from __future__ import annotations

import grain
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmssr_jax.core.errors import UserError
from mmssr_jax.data.mixture import BLOCK, Component, Mixture, as_mixture, group_weights

MM15 = {"text_rich": 37.2, "refer_ground": 22.5, "general": 11.3, "math": 5.6, "code": 2.3, "science": 1.1,
        "multi": 10.0, "text": 10.0}  # fmt: skip


def _mixture(weights: dict[str, float], size: int = 4000) -> Mixture:
    """Members of `size`, `size` + 1, ... samples; grain shuffles small ones slowly."""
    return Mixture([Component(n, [f"{n}{i}" for i in range(size + k)], w) for k, (n, w) in enumerate(weights.items())])


def _drawn(mixture: Mixture, start: int, count: int, seed: int = 0) -> np.ndarray:
    ds = mixture.dataset(seed)
    return mixture.component_of(np.array([ds[n][0] for n in range(start, start + count)]))


@pytest.mark.parametrize("start", [0, 3_777, 1_234_567])
def test_shares_over_ten_thousand_draws_are_the_weights(start: int):
    members = _drawn(_mixture(MM15), start, 10_000)
    shares = np.bincount(members, minlength=len(MM15)) / 10_000
    np.testing.assert_allclose(shares, np.array(list(MM15.values())) / 100, atol=0.001)


@settings(max_examples=15, deadline=None)
@given(st.lists(st.floats(1e-5, 1e3), min_size=1, max_size=12))
def test_every_block_holds_the_same_counts(weights: list[float]):
    mixture = _mixture({str(n): w for n, w in enumerate(weights)}, size=1)
    counts = mixture.counts()
    assert counts.sum() == BLOCK
    assert counts.min() >= 1
    share = np.array(weights) / sum(weights) * BLOCK
    assert np.abs(counts - share).max() <= max(1, (share < 1).sum())


def test_any_window_is_near_the_weights():
    """Spread evenly: a batch of 40 draws has what 40 draws should have."""
    members = _drawn(_mixture({"a": 2, "b": 1, "c": 1}), 5, 2_000)
    for start in range(0, 2_000 - 40, 13):
        assert np.abs(np.bincount(members[start : start + 40], minlength=3) - [20, 10, 10]).max() <= 2


def test_every_member_is_repeated_by_itself_in_another_order_each_epoch():
    mixture = _mixture({"a": 3, "b": 1}, size=400)
    ds = mixture.dataset(1)
    drawn = [ds[n][1] for n in range(1610)]
    a = [x for x in drawn if x[0] == "a"]
    b = [x for x in drawn if x[0] == "b"]
    assert abs(len(a) - 3 * len(b)) <= 4
    for epoch in range(3):
        assert len(set(a[400 * epoch : 400 * (epoch + 1)])) == 400
    assert a[:400] != a[400:800]
    assert len(set(b[:401])) == 401


def test_numbers_name_their_samples():
    mixture = _mixture({"a": 1, "b": 2})
    ds = mixture.dataset(0)
    assert all(mixture[ds[n][0]] == ds[n][1] for n in range(30))
    assert [mixture[0], mixture[3999], mixture[4000], mixture[len(mixture) - 1]] == ["a0", "a3999", "b0", "b4000"]


def test_the_order_is_the_same_whoever_reads_it():
    ds = _mixture(MM15).dataset(3)
    plain = [ds[n] for n in range(300)]
    for threads in (1, 4):
        read = iter(ds.to_iter_dataset(grain.ReadOptions(num_threads=threads, prefetch_buffer_size=7)))
        assert [next(read) for _ in range(300)] == plain
    again = _mixture(MM15).dataset(3)
    assert [again[n] for n in range(299, 200, -1)] == plain[299:200:-1]
    assert [again[n] for n in range(20)] != [_mixture(MM15).dataset(4)[n] for n in range(20)]


def test_a_further_member_leaves_the_order_of_the_others():
    def of_a(weights: dict[str, float]) -> list[str]:
        ds = _mixture(weights).dataset(0)
        return [x for x in (ds[n][1] for n in range(60)) if x[0] == "a"][:10]

    assert of_a({"a": 1, "b": 1}) == of_a({"a": 1, "b": 1, "c": 2})


def test_one_member_needs_no_mixing():
    ds = as_mixture(["x", "y", "z"]).dataset(0)
    assert sorted(ds[n][1] for n in range(3)) == ["x", "y", "z"]


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ([Component("a", [], 1.0)], "component 'a' has no samples"),
        ([Component("a", [1], 0.0)], "weight of 'a' is 0.0"),
        ([Component("a", [1], float("nan"))], "weight of 'a' is nan"),
        ([Component("a", [1], 1.0), Component("a", [1], 1.0)], "two components have the same name"),
    ],
)
def test_what_is_no_mixture_is_said(members, message):
    with pytest.raises(UserError, match=message):
        Mixture(members)


def test_alphas_and_group_weights_give_the_papers_mixture():
    """mm15: alpha 0.1 / 0.5 / 0.2 / 2.0 against general, text-rich 37.2 / 11.3, and w 80 / 10 / 10."""
    alphas = {"general": 1.0, "text_rich": 37.2 / 11.3, "refer_ground": 2.0, "math": 0.5, "code": 0.2, "science": 0.1}
    groups = dict.fromkeys(alphas, "single") | {"multi": "multi", "text": "text"}
    weights = group_weights(alphas | {"multi": 1.0, "text": 1.0}, groups, {"single": 0.8, "multi": 0.1, "text": 0.1})
    for name, share in MM15.items():
        assert 100 * weights[name] == pytest.approx(share, abs=0.15), name
    assert sum(weights.values()) == pytest.approx(1)


def test_groups_and_shares_must_meet():
    with pytest.raises(UserError, match="group 'multi' has a share but no component"):
        group_weights({"a": 1.0}, {"a": "single"}, {"single": 0.9, "multi": 0.1})
    with pytest.raises(UserError, match="group 'text' has components but no share"):
        group_weights({"a": 1.0, "b": 1.0}, {"a": "single", "b": "text"}, {"single": 0.9})
