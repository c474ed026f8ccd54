"""Tie keys: of the ids alone, all different, equal to a plain spelling of the same hash."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmssr_jax.core.errors import UserError
from mmssr_jax.selection import tie_break

MASK = 2**64 - 1


def mix(x: int) -> int:
    x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & MASK
    return x ^ (x >> 31)


def plain_hash(text: str, seed: int, salt: int) -> int:
    golden, data = 0x9E3779B97F4A7C15, text.encode()
    start = mix((mix((seed * golden + salt + 1) & MASK) + golden) & MASK)
    key = mix(start ^ len(data))
    for at in range(0, len(data), 8):
        key = (mix(key ^ int.from_bytes(data[at : at + 8], "little")) + golden) & MASK
    return key


@given(st.lists(st.text(max_size=30)), st.integers(0, 2**70), st.integers(0, 3))
def test_equals_a_plain_spelling(texts: list[str], seed: int, salt: int) -> None:
    found = tie_break.hash_ids(pa.array(texts, pa.string()), seed=seed, salt=salt)
    assert found.tolist() == [plain_hash(t, seed, salt) for t in texts]


@given(st.lists(st.text(max_size=20), unique=True, min_size=1), st.integers(1, 4))
def test_chunks_and_types_do_not_matter(texts: list[str], chunk: int) -> None:
    whole = pa.array(texts, pa.string())
    chunks = pa.chunked_array([whole.slice(i, chunk) for i in range(0, len(texts), chunk)])
    keys = tie_break.tie_keys(whole, seed=1)
    np.testing.assert_array_equal(keys, tie_break.tie_keys(chunks, seed=1))
    np.testing.assert_array_equal(keys, tie_break.tie_keys(whole.cast(pa.large_string()), seed=1))
    assert len(set(keys.tolist())) == len(texts)


def test_seeds_give_other_orders() -> None:
    ids = pa.array([str(i) for i in range(1000)])
    first, second = (np.argsort(tie_break.tie_keys(ids, seed=s)) for s in (0, 1))
    assert np.corrcoef(np.argsort(first), np.argsort(second))[0, 1] < 0.1


def test_keys_that_fall_together_get_a_new_salt(monkeypatch: pytest.MonkeyPatch) -> None:
    real = tie_break.hash_ids

    def weak(ids: pa.Array, *, seed: int = 0, salt: int = 0) -> np.ndarray:
        return real(ids, seed=seed, salt=salt) % np.uint64(4) if salt < 2 else real(ids, seed=seed, salt=salt)

    monkeypatch.setattr(tie_break, "hash_ids", weak)
    ids = pa.array([str(i) for i in range(20)])
    np.testing.assert_array_equal(tie_break.tie_keys(ids, seed=0), real(ids, seed=0, salt=2))


def test_an_id_that_is_there_twice_is_named() -> None:
    with pytest.raises(UserError, match="id 'b' occurs more than once"):
        tie_break.tie_keys(pa.array(["a", "b", "c", "b"]), seed=0)
    with pytest.raises(UserError, match="1 rows have no id"):
        tie_break.tie_keys(pa.array(["a", None]), seed=0)
