"""Files of ids, and ids out of many chunks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmssr_jax.core import files
from mmssr_jax.core.errors import UserError
from mmssr_jax.selection import id_files


@given(st.lists(st.lists(st.text(max_size=3), max_size=4), max_size=4), st.data())
def test_take(chunks: list[list[str]], data: st.DataObject) -> None:
    flat = [text for chunk in chunks for text in chunk]
    rows = np.array(data.draw(st.lists(st.integers(0, len(flat) - 1), max_size=9)) if flat else [], np.int64)
    expected = [flat[row] for row in rows]
    for kind in (pa.string(), pa.large_string()):
        column = pa.chunked_array([pa.array(chunk, kind) for chunk in chunks], kind)
        assert id_files.take(column, rows).equals(pa.array(expected, pa.string()))
    assert id_files.take(pa.array(flat, pa.string()), rows).to_pylist() == expected


@given(st.lists(st.text(max_size=2), max_size=8), st.lists(st.text(max_size=2), max_size=8))
def test_absent(own: list[str], among: list[str]) -> None:
    columns = [pa.chunked_array([pa.array(t[:3], pa.string()), pa.array(t[3:], pa.string())]) for t in (own, among)]
    assert id_files.absent(*columns).tolist() == [i for i, text in enumerate(own) if text not in among]


@given(st.lists(st.text(st.characters(exclude_characters="\r\n", exclude_categories=["Cs"]), min_size=1), unique=True))
def test_files_are_sorted_as_python_sorts(tmp_path_factory: pytest.TempPathFactory, texts: list[str]) -> None:
    texts = [text for text in texts if text.strip()]
    path = tmp_path_factory.mktemp("ids") / "ids.txt"
    id_files.write_sorted(path, pa.array(texts, pa.string()))
    assert path.read_text(encoding="utf-8") == "".join(f"{text}\n" for text in sorted(texts))
    assert id_files.read(path.parent).to_pylist() == sorted(texts)


def test_wrong_files(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"id 'a\\nb' contains a line break"):
        id_files.write_sorted(tmp_path / "ids.txt", pa.array(["c", "a\nb"]))
    with pytest.raises(UserError, match="it should hold one id per line"):
        id_files.read(tmp_path / "none.txt")
    files.write_bytes(tmp_path / "latin.txt", b"\xff\xfe\xfa")
    with pytest.raises(UserError, match="not a text file of ids"):
        id_files.read(tmp_path / "latin.txt")


def test_a_byte_order_mark_is_no_part_of_the_first_id(tmp_path: Path) -> None:
    (tmp_path / "ids.txt").write_bytes(b"\xef\xbb\xbfa\r\nb\r\n")
    assert id_files.read(tmp_path / "ids.txt").to_pylist() == ["a", "b"]
