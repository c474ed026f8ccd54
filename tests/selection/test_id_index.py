"""Ids are found by hashes, and never by hashes alone."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmssr_jax.selection import id_index
from mmssr_jax.selection.id_index import IdIndex

_IDS = st.lists(st.text(max_size=3), unique=True, max_size=12)


@given(_IDS, st.lists(st.text(max_size=3), max_size=12), st.integers(0, 12), st.sampled_from([64, 2, 0]))
def test_rows_are_those_of_equal_ids_even_if_hashes_collide(ids: list[str], wanted: list[str], cut: int, bits: int):
    with pytest.MonkeyPatch.context() as patch:
        hash_ids = id_index.hash_ids
        mask = np.uint64(2**bits - 1)
        patch.setattr(id_index, "hash_ids", lambda values: hash_ids(values) & mask)
        index = IdIndex(pa.chunked_array([ids[:cut], ids[cut:]], pa.string()))
        rows = index.rows(pa.array(wanted, pa.string()))
    assert rows.tolist() == [ids.index(w) if w in ids else -1 for w in wanted]
