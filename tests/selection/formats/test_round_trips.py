"""What the libraries `datasets` and `webdataset` read of our formats (`pip install 'mmssr_jax[roundtrip]'`)."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from mmssr_jax.selection.formats import hf_parquet, webdataset
from mmssr_jax.selection.item import Item, file_name
from tests.selection.formats.conftest import make_item, picture


@pytest.fixture
def load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """`datasets.load_dataset` of the split `train`, with nothing from the network and no cache shared between tests."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    datasets = pytest.importorskip("datasets", reason="the extra `roundtrip` (datasets) is not installed")

    def load_train(path: str, name: str | None = None, **keywords: Any) -> Any:
        return datasets.load_dataset(path, name, split="train", cache_dir=str(tmp_path / "cache"), **keywords)

    return load_train


def by_source(items: list[Item]) -> dict[str, list[Item]]:
    names = sorted({i.sample.source for i in items})
    return {name: [i for i in items if i.sample.source == name] for name in names}


def pixels(image: Image.Image) -> list[tuple[int, ...]]:
    return list(image.convert("RGB").get_flattened_data())


def decoded(item: Item) -> list[list[tuple[int, ...]]]:
    """The pixels of the images of a sample."""
    return [pixels(Image.open(io.BytesIO(image.read()))) for image in item.sample.images]


def expected_turns(item: Item) -> list[dict[str, str]]:
    return item.value["conversations"]


@pytest.mark.parametrize("several", [True, False])
def test_datasets_loads_and_shows_the_parquet_folder(tmp_path: Path, items: list[Item], load: Any, several: bool):
    items = items if several else [i for i in items if len(i.sample.images) < 2]
    hf_parquet.write(tmp_path / "data", by_source(items), per_file=1)
    rows = {row["id"]: row for row in load(str(tmp_path / "data"))}
    assert set(rows) == {i.sample.id for i in items}
    for item in items:
        row = rows[item.sample.id]
        images = row["images"] if several else [row["image"]] if row["image"] else []
        assert all(isinstance(image, Image.Image) for image in images)
        assert [pixels(image) for image in images] == decoded(item)
        assert row["conversations"] == expected_turns(item)
        assert row["data_source"] == item.sample.source
    for source, chosen in by_source(items).items():
        loaded = load(str(tmp_path / "data"), file_name(source))
        assert sorted(loaded["id"]) == sorted(i.sample.id for i in chosen)


def members(row: dict[str, Any]) -> list[Image.Image]:
    """The images of a loaded WebDataset row, in the order that its json gives."""
    return [row[name.partition(".")[2]] for name in row["json"]["images"]]


def loaded_samples(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """The source, the turns and the pixels of loaded WebDataset rows, by id."""
    return {
        row["json"]["id"]: (row["json"]["source"], row["json"]["conversations"], [pixels(i) for i in members(row)])
        for row in rows
    }


def expected_samples(items: list[Item]) -> dict[str, Any]:
    """The same of the samples that were written."""
    return {i.sample.id: (i.sample.source, expected_turns(i), decoded(i)) for i in items}


def test_datasets_loads_a_folder_of_shards_whatever_the_samples_hold(tmp_path: Path, items: list[Item], load: Any):
    webdataset.write(tmp_path / "data", items, per_shard=2)
    assert loaded_samples(list(load(str(tmp_path / "data")))) == expected_samples(items)


@pytest.mark.parametrize("texts", [0, 3])
def test_the_loader_of_webdatasets_reads_one_kind_of_images_with_text_only_samples(
    tmp_path: Path, load: Any, texts: int
):
    items = [make_item(f"text {n}", "chat") for n in range(texts)]
    items += [make_item(f"image.{n}", "coco", picture("red", "JPEG")) for n in range(6)]
    webdataset.write(tmp_path / "data", items, per_shard=4)
    rows = list(load("webdataset", data_files=str(tmp_path / "data" / "*.tar")))
    assert loaded_samples(rows) == expected_samples(items)


def test_the_library_webdataset_reads_every_sample(tmp_path: Path, items: list[Item]):
    wds = pytest.importorskip("webdataset", reason="the extra `roundtrip` (webdataset) is not installed")
    webdataset.write(tmp_path / "data", items, per_shard=2)
    shards = [str(p) for p in sorted((tmp_path / "data").glob("*.tar"))]
    rows = list(wds.WebDataset(shards, shardshuffle=False).decode("pil"))
    assert loaded_samples(rows) == expected_samples(items)
    assert {row["__key__"] for row in rows} == {file_name(i.sample.id, dots=False) for i in items}
    raw = list(wds.WebDataset(shards, shardshuffle=False))
    bytes_of = {json.loads(row["json"])["id"]: row for row in raw}
    for item in items:
        row = bytes_of[item.sample.id]
        assert [row[n.partition(".")[2]] for n in json.loads(row["json"])["images"]] == [
            image.read() for image in item.sample.images
        ]
