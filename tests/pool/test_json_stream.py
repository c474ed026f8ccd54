from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmssr_jax.core.errors import UserError
from mmssr_jax.pool import json_stream
from mmssr_jax.pool.json_stream import read_records

_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)
_DOCUMENTS = st.lists(_VALUES, max_size=6)
_CHUNKS = st.integers(1, 64)


def _read(content: bytes, chunk_bytes: int = 8) -> list[json_stream.JsonRecord]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "pool.json"
        path.write_bytes(content)
        return list(read_records(path, chunk_bytes=chunk_bytes))


def _check_spans(content: bytes, records: list[json_stream.JsonRecord]) -> None:
    for r in records:
        assert content[r.offset : r.offset + len(r.raw)] == r.raw
        assert json.loads(r.raw) == r.value


@given(_DOCUMENTS, st.booleans(), st.sampled_from([None, 0, 2]), _CHUNKS)
def test_a_list_reads_as_json_loads_reads_it(document: list[Any], ascii_only: bool, indent: int | None, chunk: int):
    text = json.dumps(document, ensure_ascii=ascii_only, indent=indent)
    content = f" \n{text}\n\n".encode()
    records = _read(content, chunk)
    assert [r.value for r in records] == document
    assert not any(r.error for r in records)
    _check_spans(content, records)


@given(st.lists(st.dictionaries(st.text(), _VALUES, max_size=4), min_size=1, max_size=6), _CHUNKS)
def test_lines_read_as_json_loads_reads_them(rows: list[dict[str, Any]], chunk: int):
    content = "".join(json.dumps(r, ensure_ascii=False) + "\r\n \n" for r in rows).encode()
    records = _read(content, chunk)
    assert [r.value for r in records] == rows
    _check_spans(content, records)


@given(st.lists(st.dictionaries(st.text(), _VALUES, max_size=3), min_size=1, max_size=4), st.data())
def test_a_list_cut_anywhere_is_refused(document: list[Any], data: st.DataObject):
    content = json.dumps(document).encode()
    cut = content[: data.draw(st.integers(1, len(content) - 1))]
    with pytest.raises(UserError, match="it was cut off"):
        _read(cut)


def test_a_byte_order_mark_is_skipped():
    (record,) = _read(b'\xef\xbb\xbf[{"id": "a"}]')
    assert (record.offset, record.raw, record.value) == (4, b'{"id": "a"}', {"id": "a"})


def test_an_empty_list_has_no_records():
    assert _read(b" [ ] ") == []


def test_numbers_at_a_chunks_edge_are_whole():
    for chunk in range(1, 12):
        assert [r.value for r in _read(b"[1234, -5.25e1, true]", chunk)] == [1234, -52.5, True]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b" \n ", "is empty"),
        (b'[{"id": 1}, ]', r"not valid JSON at byte 12 \(line 1, record 1\)"),
        (b'[{"id": 1}\n {"id": 2}]', r"not valid JSON at byte 12 \(line 2, record 1\): expected ',' or ']'"),
        (
            b'[{"id": 1}]\n{}',
            r"not valid JSON at byte 12 \(line 2, record 1\): there is text after the end of the list",
        ),
        (b'[{"id": 1}, {"x" 2}' + b" " * 99 + b"]", r"not valid JSON at byte 17 \(line 1, record 1\): Expecting ':'"),
        ('["ä", {"a": \t'.encode() + b"\xe9}]", r"not valid UTF-8 at byte 14 \(line 1\); if it is Latin-1, convert it"),
        (b'[{"id": 1},', r"ends at byte 11 inside the list, after 1 complete records; it was cut off"),
        (b"[" * 200_000, "not valid JSON at byte 1 "),
        (b"[" + b"1" * 5000 + b"]", "not valid JSON at byte 1 "),
        ('[{"id": 1}]'.encode("utf-16"), "is UTF-16"),
        (b'{\n "a": 1,\n "b": 2\n}\n', "neither a JSON list of records nor one record per line"),
        (b"id,image\n1,2\n", "neither a JSON list of records nor one record per line"),
        (b'{"id": 1}\n{"id": "\xe9"}\n', r"not valid UTF-8 at byte 18 \(line 2\)"),
    ],
)
def test_a_file_that_is_not_readable_is_one_line_with_the_position(content: bytes, message: str):
    with pytest.raises(UserError, match=message) as e:
        _read(content)
    assert "\n" not in str(e.value)
    assert "pool.json" in str(e.value)


def test_a_bad_line_costs_that_line_only():
    a, b, c = _read(b'{"id": 1}\n{"id": 2\n{"id": 3}\n')
    assert (a.value, c.value) == ({"id": 1}, {"id": 3})
    assert b.value is None
    assert b.error.startswith("line 2 does not parse: ")
    assert b.raw == b'{"id": 2'


def test_a_missing_quote_is_found_without_reading_the_whole_file(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(json_stream, "MAX_RECORD_BYTES", 1000)
    with pytest.raises(UserError, match="record 1 is longer than 0 MiB; a missing quote"):
        _read(b'[{"id": 1}, {"id": "2}' + b" " * 100_000, 100)


def test_a_missing_file_is_named(tmp_path: Path):
    with pytest.raises(UserError, match=r"gone\.json: cannot be read \(No such file"):
        list(read_records(tmp_path / "gone.json"))
