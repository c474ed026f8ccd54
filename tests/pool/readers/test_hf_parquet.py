from __future__ import annotations

import json
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmssr_jax.core.errors import UserError
from mmssr_jax.pool.conversation import parse_conversation
from mmssr_jax.pool.readers.hf_parquet import HfParquet

_TURNS = [{"from": "human", "value": "<image>\nWhat?"}, {"from": "gpt", "value": "Café."}]
_SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("image", pa.struct([("bytes", pa.binary()), ("path", pa.string())])),
        ("conversations", pa.list_(pa.struct([("from", pa.string()), ("value", pa.string())]))),
        ("data_source", pa.string()),
    ]
)


def _write(path: Path, rows: list[dict[str, Any]], schema: pa.Schema = _SCHEMA) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows, schema=schema), path, row_group_size=2)


def _row(id: str, image: Any = None, source: str = "ai2d(gpt4v)") -> dict[str, Any]:
    return {"id": id, "image": image, "conversations": _TURNS, "data_source": source}


def test_rows_become_llava_records(tmp_path: Path):
    rows = [_row("a", {"bytes": b"A", "path": "a.jpg"}), _row("b"), _row("c", {"bytes": b"C", "path": None})]
    _write(tmp_path / "train-00000-of-00001.parquet", rows)
    a, b, c = HfParquet(tmp_path).records(images=True)
    assert a.value == {"id": "a", "conversations": _TURNS, "data_source": "ai2d(gpt4v)", "image": "a.jpg"}
    assert (a.images, b.images, c.images) == ((b"A",), (), (b"C",))
    assert "image" not in b.value
    assert c.value["image"] == "train-00000-of-00001/00000002.0"
    assert [r.number for r in (a, b, c)] == [0, 1, 2]


def test_images_are_read_only_where_wanted_and_change_nothing_else(tmp_path: Path):
    _write(tmp_path / "x.parquet", [_row(str(i), {"bytes": b"A", "path": None} if i % 2 else None) for i in range(7)])
    with_images, without_images = (list(HfParquet(tmp_path).records(images=p)) for p in (True, False))
    assert [r.value for r in with_images] == [r.value for r in without_images]
    assert [r.raw for r in with_images] == [r.raw for r in without_images]
    assert {r.images for r in without_images} == {None}


def test_every_configs_files_are_read_in_the_order_of_their_names(tmp_path: Path):
    for config in ("geo170k(qa)", "ai2d(gpt4v)", "a,b"):
        for part in (1, 0):
            _write(tmp_path / config / f"train-0000{part}-of-00002.parquet", [_row(f"{config}/{part}")])
    reader = HfParquet(tmp_path)
    ids = [r.value["id"] for r in reader.records(images=False)]
    assert ids == [f"{c}/{p}" for c in ("a,b", "ai2d(gpt4v)", "geo170k(qa)") for p in (0, 1)]
    assert [r.file for r in reader.records(images=False)] == list(range(6))


def test_several_images_stand_in_a_list(tmp_path: Path):
    several = pa.field("images", pa.list_(_SCHEMA.field("image").type))
    schema = pa.schema([several if f.name == "image" else f for f in _SCHEMA])
    lists = [
        [{"bytes": b"A", "path": "a.jpg"}, {"bytes": b"B", "path": None}],
        [{"bytes": b"C", "path": "c"}],
        [],
        None,
    ]
    rows = [{**_row(str(i)), "images": images} for i, images in enumerate(lists)]
    _write(tmp_path / "x.parquet", rows, schema)
    records = list(HfParquet(tmp_path).records(images=True))
    assert [r.value.get("image") for r in records] == [["a.jpg", "x/00000000.1"], "c", None, None]
    assert [r.images for r in records] == [(b"A", b"B"), (b"C",), (), ()]
    assert [r.raw for r in HfParquet(tmp_path).records(images=False)] == [r.raw for r in records]


def test_an_image_without_bytes_is_a_file(tmp_path: Path):
    _write(tmp_path / "x.parquet", [_row("a", {"bytes": None, "path": "a.jpg"})])
    (record,) = HfParquet(tmp_path).records(images=True)
    assert (record.value["image"], record.images) == ("a.jpg", (None,))


def test_a_file_without_images_is_text_only(tmp_path: Path):
    rows = [{"id": "a", "conversations": _TURNS, "data_source": "s"}]
    _write(tmp_path / "x.parquet", rows, pa.schema([f for f in _SCHEMA if f.name != "image"]))
    (record,) = HfParquet(tmp_path / "x.parquet").records(images=True)
    assert (record.value, record.images) == (rows[0], ())


def test_a_folder_or_file_of_another_kind_is_one_line(tmp_path: Path):
    with pytest.raises(UserError, match="holds no Parquet file"):
        HfParquet(tmp_path)
    (tmp_path / "cut.parquet").write_bytes(b"PAR1 and no more")
    with pytest.raises(UserError, match=r"cut\.parquet: not a readable Parquet file .* fetch it again"):
        HfParquet(tmp_path)
    other = tmp_path / "other.parquet"
    _write(other, [{"id": "a"}], pa.schema([("id", pa.string())]))
    with pytest.raises(UserError, match=r"other\.parquet: has no column 'conversations', 'messages', .*; it has id"):
        HfParquet(other)
    _write(other, [{"image": 1}], pa.schema([("image", pa.int64()), _SCHEMA.field("conversations")]))
    with pytest.raises(UserError, match=r"its column 'image' is int64, expected struct<bytes: binary, path: string>"):
        HfParquet(other)


def _typed(name: str, type: pa.DataType) -> pa.Schema:
    return pa.schema([pa.field(name, type) if f.name == name else f for f in _SCHEMA])


@pytest.mark.parametrize(
    "type",
    [
        pa.binary(), pa.large_binary(), pa.binary_view(),
        pa.struct([("bytes", pa.large_binary()), ("path", pa.large_string())]),
        pa.struct([("path", pa.string_view()), ("bytes", pa.binary_view())]),
        pa.struct([("bytes", pa.binary())]),
    ],
    ids=str,
)  # fmt: skip
def test_types_of_an_image_column(tmp_path: Path, type: pa.DataType):
    plain = not pa.types.is_struct(type)
    image: Any = b"A" if plain else {"bytes": b"A", "path": "a.jpg"}
    _write(tmp_path / "x.parquet", [_row("a", image), _row("b")], _typed("image", type))
    a, b = HfParquet(tmp_path).records(images=True)
    named = not plain and type.num_fields == 2
    assert (a.value["image"], a.images) == ("a.jpg" if named else "x/00000000.0", (b"A",))
    assert ("image" in b.value, b.images) == (False, ())
    assert [r.raw for r in HfParquet(tmp_path).records(images=False)] == [a.raw, b.raw]


@pytest.mark.parametrize("type", [pa.large_string(), pa.string_view(), pa.dictionary(pa.int32(), pa.string())], ids=str)
def test_types_of_a_text_column(tmp_path: Path, type: pa.DataType):
    _write(tmp_path / "x.parquet", [_row("a"), _row("b", source="t")], _typed("data_source", type))
    assert [r.value["data_source"] for r in HfParquet(tmp_path).records(images=False)] == ["ai2d(gpt4v)", "t"]


@pytest.mark.parametrize("type", [pa.binary(), pa.list_(pa.struct([("bytes", pa.binary())]))], ids=str)
def test_a_binary_column_that_is_not_read_is_one_line(tmp_path: Path, type: pa.DataType):
    _write(tmp_path / "x.parquet", [], _SCHEMA.append(pa.field("audio", type)))
    with pytest.raises(UserError, match=r"x\.parquet: its column 'audio' holds binary data, .*; rename or remove"):
        HfParquet(tmp_path)


@pytest.mark.parametrize(
    "type",
    [pa.duration("s"), pa.map_(pa.string(), pa.int64()), pa.list_(pa.duration("s")), pa.month_day_nano_interval()],
    ids=str,
)
def test_a_column_without_a_json_form_is_an_error_that_names_it(tmp_path: Path, type: pa.DataType):
    schema = _SCHEMA.append(pa.field("made", type))
    try:
        _write(tmp_path / "x.parquet", [_row("a")], schema)
    except pa.ArrowNotImplementedError:
        pytest.skip("Parquet does not hold such a column")
    with pytest.raises(UserError, match=r"x\.parquet: its column 'made' is .*, which has no JSON form; remove it"):
        HfParquet(tmp_path)


@pytest.mark.parametrize(
    ("type", "value", "expected"),
    [
        (pa.date32(), date(2024, 2, 29), "2024-02-29"),
        (pa.timestamp("ms"), datetime(2024, 2, 29, 1, 2, 3), "2024-02-29 01:02:03.000"),
        (pa.decimal128(5, 2), Decimal("1.50"), 1.5),
        (pa.decimal128(5, 0), Decimal("7"), 7),
        (pa.decimal128(30, 0), Decimal("123456789012345678901234567890"), "123456789012345678901234567890"),
        (pa.list_(pa.decimal128(5, 2)), [Decimal("1.50"), None], [1.5, None]),
        (pa.struct([("d", pa.date32()), ("n", pa.int8())]), {"d": date(2024, 2, 29), "n": 1},
         {"d": "2024-02-29", "n": 1}),
    ],
    ids=str,
)  # fmt: skip
def test_dates_and_decimal_numbers_have_a_json_form(tmp_path: Path, type: pa.DataType, value: Any, expected: Any):
    schema = _SCHEMA.append(pa.field("made", type))
    _write(tmp_path / "x.parquet", [{**_row("a"), "made": value}, _row("b")], schema)
    a, b = HfParquet(tmp_path).records(images=True)
    assert a.value["made"] == expected
    assert "made" not in b.value
    assert json.loads(a.raw) == a.value


_TEXT = st.sampled_from([pa.string(), pa.large_string(), pa.string_view(), pa.dictionary(pa.int32(), pa.string())])
_NESTED = st.sampled_from([pa.string(), pa.large_string()])  # pyarrow does not write views inside lists
_BYTES = st.sampled_from([pa.binary(), pa.large_binary(), pa.binary(1)])
_RATING = st.sampled_from([pa.int8(), pa.float32(), pa.uint64()])
_LISTS = st.sampled_from([pa.list_, pa.large_list, lambda t: pa.list_(pa.field("item", t)), lambda t: pa.list_(t, 2)])


@st.composite
def _forms(draw: st.DrawFn) -> pa.Schema:
    """The schema of one sample with two images, in any form of its columns, which stand in any order."""
    turn = pa.struct(draw(st.permutations([("from", draw(_NESTED)), ("value", draw(_NESTED))])))
    image = draw(_BYTES)
    if draw(st.booleans()):
        image = pa.struct(draw(st.permutations([("bytes", image), ("path", draw(_NESTED))])))
    columns = [
        ("id", draw(_TEXT)), ("data_source", draw(_TEXT)), ("images", draw(_LISTS)(image)),
        ("conversations", draw(_LISTS)(turn)), ("rating", draw(_RATING)),
    ]  # fmt: skip
    return pa.schema(draw(st.permutations(columns)))


@given(_forms())
@settings(max_examples=100, deadline=None)
def test_every_form_of_a_column_gives_the_same_record(tmp_path_factory: pytest.TempPathFactory, schema: pa.Schema):
    struct = pa.types.is_struct(schema.field("images").type.value_type)
    images: list[Any] = [b"A", b"B"]
    if struct:
        images = [{"bytes": b"A", "path": "a.jpg"}, {"bytes": b"B", "path": "b.jpg"}]
    row = {"id": "a", "images": images, "conversations": _TURNS, "data_source": "ai2d", "rating": 3}
    path = tmp_path_factory.mktemp("forms") / "x.parquet"
    _write(path, [row, row], schema)
    first, second = HfParquet(path).records(images=True)
    names = ["a.jpg", "b.jpg"] if struct else ["x/00000000.0", "x/00000000.1"]
    assert first.value == {"id": "a", "image": names, "conversations": _TURNS, "data_source": "ai2d", "rating": 3}
    assert first.images == second.images == (b"A", b"B")
    assert [r.raw for r in HfParquet(path).records(images=False)] == [first.raw, second.raw]


@pytest.mark.parametrize("several", [True, False])
def test_paths_of_files_are_images_too(tmp_path: Path, several: bool):
    name = "images" if several else "image"
    type = pa.list_(pa.string()) if several else pa.string()
    schema = pa.schema([("id", pa.string()), (name, type), _SCHEMA.field("conversations")])
    rows = [{"id": "a", name: ["a.jpg"] if several else "a.jpg", "conversations": _TURNS}]
    _write(tmp_path / "x.parquet", [*rows, {"id": "b", name: None, "conversations": _TURNS}], schema)
    a, b = HfParquet(tmp_path).records(images=True)
    assert (a.value["image"], a.images) == ("a.jpg", (None,))
    assert ("image" in b.value, b.images) == (False, ())
    assert [r.raw for r in HfParquet(tmp_path).records(images=False)] == [a.raw, b.raw]


def test_messages_with_parts(tmp_path: Path):
    part = pa.struct([("type", pa.string()), ("text", pa.string())])
    messages = pa.list_(pa.struct([("role", pa.string()), ("content", pa.list_(part))]))
    schema = pa.schema([("id", pa.string()), ("images", pa.list_(_SCHEMA.field("image").type)), ("messages", messages)])
    content = [{"type": "image", "text": None}, {"type": "text", "text": "q"}]
    answer = {"role": "assistant", "content": [{"type": "text", "text": "a"}]}
    row = {
        "id": "a",
        "images": [{"bytes": b"A", "path": None}],
        "messages": [{"role": "user", "content": content}, answer],
    }
    _write(tmp_path / "x.parquet", [row], schema)
    (record,) = HfParquet(tmp_path).records(images=True)
    conversation = parse_conversation(record.value, repair=False)
    assert [t.text for t in conversation.turns] == ["<image>\nq", "a"]
    assert (conversation.images, record.images) == (("x/00000000.0",), (b"A",))


def test_images_in_both_columns_are_all_kept(tmp_path: Path):
    schema = _SCHEMA.append(pa.field("images", pa.list_(_SCHEMA.field("image").type)))
    row = {**_row("a", {"bytes": b"A", "path": "a"}), "images": [{"bytes": b"B", "path": "b"}]}
    _write(tmp_path / "x.parquet", [row], schema)
    (record,) = HfParquet(tmp_path).records(images=True)
    assert (record.value["image"], record.images) == (["a", "b"], (b"A", b"B"))


def test_text_that_is_not_utf8_and_a_damaged_page_are_one_line(tmp_path: Path):
    rows = [_row("first-of-all"), _row("secondofall")]
    pq.write_table(
        pa.Table.from_pylist(rows, _SCHEMA), tmp_path / "a.parquet", compression="none", use_dictionary=False
    )  # fmt: skip
    content = (tmp_path / "a.parquet").read_bytes()
    (tmp_path / "a.parquet").write_bytes(content.replace(b"secondofall", b"second\xffofal"[:11]))
    with pytest.raises(UserError, match=r"a\.parquet: row 1 holds text that is not UTF-8"):
        list(HfParquet(tmp_path).records(images=True))


def test_a_value_that_all_rows_share_is_repeated_for_one_row_at_a_time(tmp_path: Path):
    """64 rows of 4 MiB in a file of a few kB: dictionary encoding stores the value once."""
    shared = pa.DictionaryArray.from_arrays(pa.array([0] * 64, pa.int32()), pa.array([bytes(4 << 20)], pa.binary()))
    table = pa.table({"image": shared.cast(pa.binary()), "texts": [[{"user": "q", "assistant": "a"}]] * 64})
    pq.write_table(
        table, tmp_path / "a.parquet", compression="zstd", use_dictionary=["image"], dictionary_pagesize_limit=1 << 30
    )
    del shared, table
    before = pa.total_allocated_bytes()
    records = HfParquet(tmp_path).records(images=True)
    first = next(records)
    assert first.images == (bytes(4 << 20),)
    assert pa.total_allocated_bytes() - before < 32 << 20


def test_a_row_group_of_many_gib_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    _write(tmp_path / "a.parquet", [_row("x")])
    monkeypatch.setattr("mmssr_jax.pool.readers.hf_parquet.MAX_ROW_GROUP_BYTES", 10)
    with pytest.raises(UserError, match=r"a\.parquet: row group 0 has \d+ bytes, more than the limit"):
        HfParquet(tmp_path)
