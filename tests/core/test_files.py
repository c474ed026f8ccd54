"""Files are whole or absent; what cannot be read is one line; paths out of data stay in their folder."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmssr_jax.core import files
from mmssr_jax.core.errors import UserError

TABLE = pa.table({"id": ["a", "b"] * 50, "x": [1, 2] * 50})


def names(folder):
    return sorted(p.name for p in folder.iterdir())


def write_half(path, error):
    with files.replacing(path) as temporary:
        temporary.write_bytes(b"half")
        raise error


@pytest.mark.parametrize("old", [None, b"old"])
@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt()])
def test_a_writer_that_fails_leaves_what_was_there_and_no_temporary(tmp_path, old, error):
    path = tmp_path / "a.bin"
    if old is not None:
        path.write_bytes(old)
    with pytest.raises(type(error)):
        write_half(path, error)
    assert names(tmp_path) == ([] if old is None else ["a.bin"])
    assert old is None or path.read_bytes() == old


def test_the_old_file_stands_until_the_new_one_is_whole(tmp_path):
    path = tmp_path / "deep" / "a.txt"
    files.write_text(path, "old\r\n")
    with files.replacing(path) as temporary:
        temporary.write_text("new")
        assert path.read_bytes() == b"old\r\n"
    assert path.read_text() == "new"
    assert names(path.parent) == ["a.txt"]


@pytest.mark.parametrize(
    "write",
    [
        lambda p: files.write_json(p, {"a": float("nan")}),
        lambda p: files.write_json(p, {"a": object()}),
        lambda p: files.write_jsonl(p, [{"a": 1}, {"a": {1}}]),
        lambda p: files.write_text(p, "\ud800"),
        lambda p: files.write_parquet(p, {"not": "a table"}),
    ],
)
def test_what_cannot_be_written_leaves_nothing(tmp_path, write):
    with pytest.raises((TypeError, ValueError, AttributeError)):
        write(tmp_path / "a")
    assert names(tmp_path) == []


def test_leftovers_of_a_killed_writer_are_removed_and_nothing_else(tmp_path):
    (tmp_path / "b").mkdir()
    kept = [".a.tmp", "a.12.tmp", ".a.json.12.tmp", ".hidden", "b/x.json", ".a.json.another-host.9999999.mmssr-tmp"]
    living = files.temporary_path(tmp_path / "b" / "y.json", os.getppid())
    for path in (*(tmp_path / name for name in kept), living):
        path.write_text("x")
    for path in (tmp_path / "a.json", tmp_path / "b" / "part-00000-of-00002.parquet"):
        files.temporary_path(path, 9_999_999).write_text("x")
    files.remove_leftovers(tmp_path)
    left = {p for p in tmp_path.rglob("*") if p.is_file()}
    assert left == {living, *(tmp_path / name for name in kept)}


def test_a_folder_that_a_killed_process_was_about_to_remove_is_removed(tmp_path):
    left = files.temporary_path(tmp_path / "b" / "one", 9_999_999)
    (left / "inner").mkdir(parents=True)
    (left / "inner" / "part").write_text("x")
    files.temporary_path(left / "inner" / "part", 9_999_999).write_text("x")
    kept = files.temporary_path(tmp_path / "b" / "two", os.getppid())
    kept.mkdir()
    files.remove_leftovers(tmp_path)
    assert names(tmp_path / "b") == [kept.name]


def test_a_name_as_long_as_the_file_system_allows_is_written(tmp_path):
    for name in ("n" * 255, "猫" * 85):
        files.write_text(tmp_path / name, "x")
        assert (tmp_path / name).read_text() == "x"


def test_json_is_sorted_and_readable():
    assert files.dump_json({"b": [1.5, None], "a": "é"}) == '{\n  "a": "é",\n  "b": [\n    1.5,\n    null\n  ]\n}\n'


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text("aé\n\u2028 "),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("ab\n"), inner, max_size=3),
    max_leaves=6,
)


@settings(deadline=None, max_examples=30)
@given(st.lists(st.dictionaries(st.text("ab\u2028\r"), JSON, max_size=3), max_size=4))
def test_what_was_written_is_read(tmp_path_factory, rows):
    folder = tmp_path_factory.mktemp("round")
    files.write_json(folder / "a.json", rows)
    assert files.read_json(folder / "a.json") == rows
    files.write_jsonl(folder / "a.jsonl", rows)
    assert files.read_jsonl(folder / "a.jsonl") == rows


@pytest.mark.parametrize(
    ("read", "content", "line"),
    [
        (files.read_json, b"{", r"a: not valid JSON \(Expecting property name .*line 1 column 2.*\)"),
        (files.read_json, b'"\xff"', r"a: not valid JSON \('utf-8' codec can't decode byte 0xff.*\)"),
        (files.read_json, b"[" * 100_000, r"a: not valid JSON \(maximum recursion depth .*\)"),
        (files.read_jsonl, b'{"a": 1}\n\n \n{"a": \n', r"a:4: not valid JSON \(Expecting value: .*\)"),
        (files.read_jsonl, b'{"a": 1}\n{"a": "\xff"}\n', r"a:2: not valid JSON \('utf-8' codec .*\)"),
        (files.read_jsonl, b'{"a": 1}\n[1]\n', r"a:2: expected a JSON object, got list"),
        (files.read_parquet, b"", r"a: not a readable Parquet file \(.*0 bytes\)"),
        (files.read_parquet, b"id,score\n" * 9, r"a: not a readable Parquet file \(Parquet magic bytes .*\)"),
    ],
)
def test_what_cannot_be_parsed_is_one_line(tmp_path, read, content, line):
    (tmp_path / "a").write_bytes(content)
    with pytest.raises(UserError, match=rf"\A{tmp_path}/{line}\Z"):
        read(tmp_path / "a")


@pytest.mark.parametrize("read", [files.read_json, files.read_jsonl, files.read_parquet, files.file_digest])
def test_a_file_that_is_not_there_and_one_that_is_a_folder(tmp_path, read):
    with pytest.raises(UserError, match=rf"\A{tmp_path}/a: no such file\Z"):
        read(tmp_path / "a")
    with pytest.raises(UserError, match=rf"\A{tmp_path}: .*(folder|directory).*\Z"):
        read(tmp_path)


@pytest.mark.parametrize("damaged", [slice(4, 60), slice(-60, -20), slice(-8, None)])
def test_a_damaged_table_is_one_line(tmp_path, damaged):
    path = tmp_path / "a.parquet"
    files.write_parquet(path, TABLE)
    data = bytearray(path.read_bytes())
    data[damaged] = b"\xff" * len(data[damaged])
    path.write_bytes(bytes(data))
    with pytest.raises(UserError, match=rf"\A{path}: not a readable Parquet file \(.*\)\Z"):
        files.read_parquet(path)


def test_tables(tmp_path):
    path = tmp_path / "a.parquet"
    files.write_parquet(path, TABLE)
    assert files.read_parquet(path).equals(TABLE)
    assert files.read_parquet(path, ["x"]).schema.names == ["x"]
    with pytest.raises(UserError, match=rf"\A{path}: has no column y, z; it has id, x\Z"):
        files.read_parquet(path, ["z", "x", "y"])


def test_equal_tables_are_equal_bytes(tmp_path):
    for name in "ab":
        files.write_parquet(tmp_path / name, TABLE)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_digests(tmp_path):
    assert files.digest("abc") == files.digest(b"abc") == "ba7816bf8f01cfea"  # FIPS 180-2, appendix B.1
    (tmp_path / "a").write_bytes(b"abc")
    assert files.file_digest(tmp_path / "a") == "ba7816bf8f01cfea"


@pytest.mark.parametrize("relative", ["a.jpg", "b/../a.jpg", "./a.jpg", "not/there.jpg", "within", "ünï/ç.jpg", "..a"])
def test_paths_that_stay_inside(tmp_path, relative):
    (tmp_path / "b").mkdir()
    (tmp_path / "within").symlink_to(tmp_path / "b")
    assert files.inside(tmp_path, relative) == tmp_path / relative


@pytest.mark.parametrize(
    "relative",
    ["..", "../a", "b/../../a", "/etc/passwd", "out", "out/a", "circle", "circle/a", "a\0b", "{folder}/a"],
)
def test_paths_that_leave(tmp_path, relative):
    folder = tmp_path / "pool"
    (folder / "b").mkdir(parents=True)
    (folder / "out").symlink_to(tmp_path)
    (folder / "circle").symlink_to(folder / "again")
    (folder / "again").symlink_to(folder / "circle")
    with pytest.raises(ValueError, match=r"leaves its folder|cannot be followed|null"):
        files.inside(folder, relative.format(folder=folder))


def test_the_folder_itself_may_be_a_link(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    assert files.inside(tmp_path / "link", "a") == tmp_path / "link" / "a"


@settings(deadline=None)
@given(st.lists(st.sampled_from(["..", ".", "a", "b", ""]), min_size=1, max_size=6))
def test_steps_up_and_down(tmp_path_factory, steps):
    folder = tmp_path_factory.getbasetemp() / "steps"
    relative = "/".join(steps)
    lands = relative if relative.startswith("/") else os.path.normpath(f"{folder}/{relative}")
    if lands == str(folder) or lands.startswith(f"{folder}/"):
        assert files.inside(folder, relative) == folder / relative
    else:
        with pytest.raises(ValueError, match="leaves its folder"):
            files.inside(folder, relative)


@pytest.mark.parametrize("renames", [True, False])
def test_empty_folder(tmp_path, monkeypatch, renames):
    """Also where folders cannot be renamed, as in a bucket that is mounted."""
    if not renames:
        monkeypatch.setattr(Path, "rename", lambda *_: (_ for _ in ()).throw(OSError(errno.ENOSYS, "no renames")))
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "c").write_text("x")
    files.empty_folder(tmp_path / "a")
    files.empty_folder(tmp_path / "new" / "folder")
    assert names(tmp_path / "a") == names(tmp_path / "new" / "folder") == []
