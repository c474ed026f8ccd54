import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmssr_jax.judge.draw import SamplingConfig, cheap_signals, draw_order, repeated

SIZES = {"big": 900, "mid": 100, "tiny": 3}
IDS = [f"{s}-{i}" for s, n in SIZES.items() for i in range(n)]
SOURCES = [s for s, n in SIZES.items() for _ in range(n)]
PLAIN = ["-"] * len(IDS)


def drawn(n, *, ids=IDS, sources=SOURCES, strata=PLAIN, seed=0, **kw):
    return [ids[i] for i in draw_order(ids, sources, strata, seed=seed, settings=SamplingConfig(**kw))[:n]]


def counts(ids):
    return {s: sum(i.startswith(s) for i in ids) for s in SIZES}


def test_shares_follow_the_square_root():
    assert counts(drawn(80, at_least=0)) == {"big": 58, "mid": 19, "tiny": 3}  # 30 : 10 : 1.73


def test_shares_follow_the_size():
    assert counts(drawn(100, share_by="size", at_least=0)) == {"big": 90, "mid": 10, "tiny": 0}


def test_every_source_gets_its_least_first():
    assert counts(drawn(11, share_by="size", at_least=4)) == {"big": 4, "mid": 4, "tiny": 3}
    assert counts(drawn(100, share_by="size", at_least=4)) == {"big": 87, "mid": 10, "tiny": 3}


def test_the_whole_pool_is_an_order():
    assert sorted(drawn(len(IDS))) == sorted(IDS)


def test_seeds_differ():
    assert drawn(50) == drawn(50)
    assert drawn(50) != drawn(50, seed=1)


def test_the_draw_of_a_small_pool():
    """Literal ids of an earlier version: what was judged stays the beginning of what is drawn."""
    ids = [f"id-{i * 7919 % 60:02d}" for i in range(60)]
    sources = [("émile", "Z", "a b", "a", "z\U0001f600", "zé")[i % 6 if i % 5 else 2] for i in range(60)]
    strata = ["0-0" if i % 3 else "1-2" for i in range(60)]
    expected = [
        "id-59",
        "id-39",
        "id-52",
        "id-19",
        "id-02",
        "id-06",
        "id-11",
        "id-21",
        "id-46",
        "id-43",
        "id-44",
        "id-24",
        "id-15",
        "id-58",
        "id-41",
        "id-33",
        "id-13",
        "id-32",
        "id-18",
        "id-40",
        "id-25",
        "id-47",
        "id-51",
        "id-07",
    ]
    assert drawn(24, ids=ids, sources=sources, strata=strata, seed=3, at_least=2) == expected


def test_one_long_source_takes_its_own_room_only():
    sources = ["coco"] * 20_000
    sources[7] = "x" * 200_000
    ids = [f"s{i}" for i in range(20_000)]
    tracemalloc.start()
    order = draw_order(ids, sources, ["0-0"] * 20_000, seed=0, settings=SamplingConfig())
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (len(order), 7 in order[:5]) == (20_000, True)
    assert peak < 50_000_000, "every label as wide as the longest would be 16 GB"


@settings(max_examples=20, deadline=None)
@given(st.randoms(use_true_random=False), st.integers(0, 200))
def test_file_order_does_not_matter(random, n):
    order = list(range(len(IDS)))
    random.shuffle(order)
    shuffled = drawn(n, ids=[IDS[i] for i in order], sources=[SOURCES[i] for i in order])
    assert shuffled == drawn(n)


def test_rare_strata_are_covered_in_proportion():
    ids = [f"s{i}" for i in range(1000)]
    strata = ["rare" if i % 20 == 0 else "common" for i in range(1000)]
    for n in (40, 100, 200):
        rare = sum(int(i[1:]) % 20 == 0 for i in drawn(n, ids=ids, sources=["s"] * 1000, strata=strata))
        assert abs(rare - n / 20) <= 1


def test_a_top_up_holds_the_first_draw():
    assert drawn(60)[:40] == drawn(40)


def test_empty_pool():
    assert len(draw_order([], [], [], seed=0, settings=SamplingConfig())) == 0


def test_cheap_signals():
    assert cheap_signals([0, 1, 5, 1], [2, 4, 8, 6]) == ["0-0", "1-1", "2-2", "1-1"]


def test_repeats_are_a_seeded_share_in_the_order_given():
    some = repeated(IDS, 0.1, seed=3)
    assert len(some) == 100
    assert list(some) == [i for i in IDS if i in set(some)]
    assert set(some) == set(repeated(IDS[::-1], 0.1, seed=3))
    assert set(some) != set(repeated(IDS, 0.1, seed=4))
    assert repeated(IDS, 0.0, seed=3) == ()


def test_hashes_spread():
    picked = np.array([int(i.split("-")[1]) for i in drawn(200, at_least=0) if i.startswith("big")])
    assert 380 < picked.mean() < 520  # 900 ids: mean 449.5, standard error about 20


def test_at_least_must_not_be_negative():
    with pytest.raises(ValueError, match="at_least"):
        SamplingConfig(at_least=-1)
