"""Score tables out of Arrow."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmssr_jax.core.errors import UserError
from mmssr_jax.selection.table import ScoreTable, encode_strings, encode_styles, without_repeats


def table(**changes: pa.Array) -> pa.Table:
    columns = {
        "id": pa.array(["x", "y", "z"]),
        "source": pa.array(["web", "art", "web"]),
        "ocr": pa.array([1.5, None, 5.0], pa.float32()),
        "styles": pa.array([["b", "a", "b"], None, []], pa.list_(pa.string())),
    }
    return pa.table({**columns, **changes})


def test_columns_become_codes() -> None:
    found = ScoreTable.from_arrow(table())
    assert found.source_names == ("art", "web")
    assert found.source.tolist() == [1, 0, 1]
    assert found.style_names == ("a", "b")
    assert found.styles.tolist() == [[1, 0, -1], [-1, -1, -1], [-1, -1, -1]]
    np.testing.assert_array_equal(found.scores["ocr"], np.array([1.5, np.nan, 5.0], np.float32))
    assert found.n_tokens is None


@given(st.lists(st.lists(st.sampled_from(["", None, "p", "q", "r"]), max_size=5)), st.integers(1, 3))
def test_styles_keep_their_order_without_repeats_and_blanks(rows: list[list[str]], chunk: int) -> None:
    whole = pa.array(rows, pa.list_(pa.string()))
    column = pa.chunked_array([whole.slice(i, chunk) for i in range(0, len(rows), chunk)], whole.type)
    codes, names = encode_styles(column)
    found = [[names[c] for c in row if c >= 0] for row in codes]
    assert found == [[s for s in dict.fromkeys(row) if s] for row in rows]
    assert list(names) == sorted({s for row in rows for s in row if s})


@given(st.lists(st.text(max_size=3), min_size=1))
def test_string_codes_are_sorted(texts: list[str]) -> None:
    plain = pa.chunked_array([pa.array(texts)])
    parts = [pa.array(part, pa.string()).dictionary_encode() for part in (texts[:1], texts[1:])]
    dictionary = pa.chunked_array(parts)
    for column in (plain, dictionary):
        codes, names = encode_strings(column)
        assert [names[c] for c in codes] == texts
        assert list(names) == sorted(set(texts))


def test_repeats_close_the_gap() -> None:
    assert without_repeats(np.array([[2, 2, 1], [0, -1, -1], [1, 0, 1]])).tolist() == [
        [2, 1, -1],
        [0, -1, -1],
        [1, 0, -1],
    ]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"ocr": pa.array([1.0, -0.5, 2.0])}, "id 'y': ocr is -0.5, but scores go from 0 to 5"),
        ({"ocr": pa.array(["1", "2", "3"])}, "ocr holds string, not numbers"),
        ({"source": pa.array(["a", None, "b"])}, "1 rows of the scores have no source"),
        ({"styles": pa.array(["a", "b", "c"])}, "styles holds string, not lists"),
    ],
)
def test_wrong_columns(changes: dict[str, pa.Array], message: str) -> None:
    with pytest.raises(UserError, match=message):
        ScoreTable.from_arrow(table(**changes))
    with pytest.raises(UserError, match="no column styles"):
        ScoreTable.from_arrow(table().drop_columns(["styles"]))
    with pytest.raises(UserError, match="no column logic"):
        ScoreTable.from_arrow(table(), ["logic"])
