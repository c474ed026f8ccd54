"""Every format is read back by plain means and found equal."""

from __future__ import annotations

import json
import re
import tarfile
import urllib.parse
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from mmssr_jax.core.errors import UserError
from mmssr_jax.selection import llava_json
from mmssr_jax.selection.base import SCHEMA
from mmssr_jax.selection.formats import csv, datacomp, hf_parquet, mixture, webdataset
from mmssr_jax.selection.item import Item, file_name, image_suffix


def by_source(items: list[Item]) -> dict[str, list[Item]]:
    names = sorted({i.sample.source for i in items})
    return {name: [i for i in items if i.sample.source == name] for name in names}


@given(st.text(min_size=1, max_size=20), st.booleans())
def test_file_names_stand_for_names(name: str, dots: bool) -> None:
    found = file_name(name, dots=dots)
    assert urllib.parse.unquote(found) == name
    assert not set(found) & set("/\\:\0 ,()[]~")
    assert not found.startswith(".")
    assert dots or "." not in found


@pytest.mark.parametrize("name", ["中" * 29, "中" * 1000, "é" * 41 + "x", "a" * 300, "." * 300])
@pytest.mark.parametrize("dots", [True, False])
def test_a_long_name_is_a_file_name_too(tmp_path: Path, name: str, dots: bool) -> None:
    found = {file_name(n, dots=dots) for n in (name, name + "2", "2" + name)}
    assert len(found) == 3
    for one in found:
        assert re.fullmatch(r"([\w.-]|%[0-9A-F]{2})+(~[0-9a-f]{16})?", one)
        (tmp_path / f"{one}.json").write_text("")


def test_llava_json_is_what_json_dump_writes(tmp_path: Path, items: list[Item]) -> None:
    for chosen in ([], items[:1], items):
        llava_json.write(tmp_path / "a.json", (i.value for i in chosen), total=len(chosen))
        expected = json.dumps([i.value for i in chosen], indent=2, ensure_ascii=False)
        assert (tmp_path / "a.json").read_text(encoding="utf-8") == expected


def test_llava_json_is_strict_json_whatever_a_record_holds(tmp_path: Path) -> None:
    record = {"a": float("nan"), "b": [{"c": float("-inf")}, 1.5], "d": "\ud800", "e": "\U0001f600"}
    llava_json.write(tmp_path / "a.json", [record], total=1)
    text = (tmp_path / "a.json").read_text(encoding="utf-8")
    found = json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))
    assert found == [{"a": None, "b": [{"c": None}, 1.5], "d": "\ud800", "e": "\U0001f600"}]


def test_no_cell_of_a_csv_is_a_formula(tmp_path: Path) -> None:
    odd = ["=1+1", "+a", "-b", "@c", "\td", "'=e", "''f", "'g", "h=", ""]
    row = {"capability": None, "group": "@g", "score": -1.5, "round": 1}
    picks = pa.Table.from_pylist([{"id": i, "source": f"={i}", **row} for i in odd], SCHEMA)
    csv.write(tmp_path / "a.csv", picks)
    assert csv.read(tmp_path / "a.csv").equals(picks)
    cells = (tmp_path / "a.csv").read_text().replace('"', "").replace("\n", ",").split(",")
    assert [c for c in cells if c.startswith(("=", "+", "@", "\t", "-")) and c != "-1.5"] == []


def test_csv(tmp_path: Path) -> None:
    picks = pa.table(
        [
            ['comma, "quote"', "line\nbreak", "", "plain"],
            ["s", "s", "t", "t"],
            ["ocr", None, "ocr", "ocr"],
            ["yes/no+s", None, "", "x+t"],
            pa.array([0.1, None, 5.0, 1 / 3], pa.float32()),
            pa.array([1, 0, 1, 2], pa.int32()),
        ],
        schema=SCHEMA,
    )
    csv.write(tmp_path / "a.csv", picks)
    assert csv.read(tmp_path / "a.csv").equals(picks)


def test_webdataset_by_tar_alone(tmp_path: Path, items: list[Item]) -> None:
    webdataset.write(tmp_path / "a", items, per_shard=3)
    webdataset.write(tmp_path / "b", items, per_shard=3)
    found: dict[str, bytes] = {}
    for shard in ("00000.tar", "00001.tar"):
        assert (tmp_path / "a" / shard).read_bytes() == (tmp_path / "b" / shard).read_bytes()
        with tarfile.open(tmp_path / "a" / shard) as tar:
            found |= {m.name: tar.extractfile(m).read() for m in tar}  # type: ignore[union-attr]
    one, two = items[1].sample.images[0].data, items[2].sample.images[0].data
    assert list(found) == [
        "zwei%20%C3%BC.0.png",
        "zwei%20%C3%BC.1.jpg",
        "zwei%20%C3%BC.json",  # it has the most images
        "text%2Fonly%2E1.json",
        "one.jpg",
        "one.json",
        "last.webp",
        "last.json",
    ]
    assert (found["one.jpg"], found["zwei%20%C3%BC.0.png"]) == (one, two)
    records = [json.loads(data) for name, data in found.items() if name.endswith(".json")]
    images = {"one": ["one.jpg"], "zwei ü": ["zwei%20%C3%BC.0.png", "zwei%20%C3%BC.1.jpg"], "last": ["last.webp"]}
    ordered = [items[2], items[0], items[1], items[3]]
    assert records == [
        {**i.value, "source": i.sample.source, "images": images.get(i.sample.id, [])} for i in ordered
    ]  # fmt: skip


def test_a_full_shard_leaves_no_empty_one(tmp_path: Path, items: list[Item]) -> None:
    webdataset.write(tmp_path, items, per_shard=2)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["00000.tar", "00001.tar", "README.md"]


def test_hugging_face_layout_by_pyarrow_alone(tmp_path: Path, items: list[Item]) -> None:
    hf_parquet.write(tmp_path, by_source(items), per_file=1)
    names = sorted(str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*.parquet"))
    assert names == [
        "chart/train-00000-of-00001.parquet",
        "chat/train-00000-of-00001.parquet",
        "coco%2Ftrain%282017%29/train-00000-of-00002.parquet",
        "coco%2Ftrain%282017%29/train-00001-of-00002.parquet",
    ]
    tables = [pq.read_table(tmp_path / name) for name in names]
    expected = hf_parquet.schema(several=True)
    assert all(t.schema.equals(expected) and t.schema.metadata == expected.metadata for t in tables)
    chart, chat, one, two = (t.to_pylist()[0] for t in tables)
    assert chat["images"] == []
    assert chart["images"] == [{"bytes": items[3].sample.images[0].data, "path": "last.webp"}]
    assert [p["bytes"] for p in one["images"]] == [items[1].sample.images[0].data]
    assert [p["bytes"] for p in two["images"]] == [i.data for i in items[2].sample.images]
    assert two["conversations"] == items[2].value["conversations"]
    assert two["data_source"] == "coco/train(2017)"


def test_hugging_face_layout_with_one_image_at_most(tmp_path: Path, items: list[Item]) -> None:
    hf_parquet.write(tmp_path, by_source([items[0], items[1], items[3]]), title="Mine")
    rows = {r["id"]: r for p in tmp_path.rglob("*.parquet") for r in pq.ParquetFile(p).read().to_pylist()}
    schemas = [pq.read_schema(p) for p in tmp_path.rglob("*.parquet")]
    expected = hf_parquet.schema(several=False)
    assert all(s.equals(expected) and s.metadata == expected.metadata for s in schemas)
    assert rows["text/only.1"]["image"] is None
    assert rows["last"]["image"] == {"bytes": items[3].sample.images[0].data, "path": "last.webp"}
    _, front, text = (tmp_path / "README.md").read_text().split("---\n")
    configs = {c["config_name"]: c["data_files"] for c in yaml.safe_load(front)["configs"]}
    assert list(configs) == ["default", "chart", "chat", "coco%2Ftrain%282017%29"]
    assert configs["default"] == [{"split": "train", "path": "*/train-*.parquet"}]
    assert configs["chat"] == [{"split": "train", "path": "chat/train-*.parquet"}]
    assert text == "\n# Mine\n\nA selection made by mmssr_jax.\n"


def test_mixture(tmp_path: Path, items: list[Item]) -> None:
    mixture.write(tmp_path, by_source(items))
    listed = yaml.safe_load((tmp_path / "mixture.yaml").read_text())["datasets"]
    assert {d["sampling_strategy"] for d in listed} == {"all"}
    records = [r for d in listed for r in json.loads((tmp_path / d["json_path"]).read_text(encoding="utf-8"))]
    assert sorted(r["id"] for r in records) == sorted(i.sample.id for i in items)
    mixture.write(tmp_path / "empty", {})
    assert yaml.safe_load((tmp_path / "empty" / "mixture.yaml").read_text()) == {"datasets": []}


@given(st.lists(st.integers(0, 2**128 - 1), unique=True, max_size=20))
def test_datacomp(tmp_path_factory: pytest.TempPathFactory, numbers: list[int]) -> None:
    path = tmp_path_factory.mktemp("uids") / "subset.npy"
    datacomp.write(path, pa.array([f"{n:032x}" for n in numbers], pa.string()))
    found = np.load(path)
    assert found.dtype == np.dtype("u8,u8")
    assert [(int(a) << 64) + int(b) for a, b in found] == sorted(numbers)
    assert datacomp.read(path).to_pylist() == [f"{n:032x}" for n in sorted(numbers)]


def test_datacomp_refuses_other_ids(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="id 'sample-1' is not a DataComp uid"):
        datacomp.write(tmp_path / "a.npy", pa.array(["0" * 32, "sample-1"]))
    np.save(tmp_path / "b.npy", np.zeros(3))
    with pytest.raises(UserError, match="a DataComp subset is one row of 'u8,u8'"):
        datacomp.read(tmp_path / "b.npy")


@pytest.mark.parametrize(("data", "suffix"), [(b"GIF89a..", "gif"), (b"BM......", "bmp"), (b"????", "bin")])
def test_image_suffix(data: bytes, suffix: str) -> None:
    assert image_suffix(data) == suffix
