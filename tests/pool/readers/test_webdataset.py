from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path

import pytest

from mmssr_jax.core.errors import UserError
from mmssr_jax.pool.readers.webdataset import WebDataset, WebDatasetConfig
from mmssr_jax.pool.record import Record

_TURNS = [{"from": "human", "value": "<image>\nWhat?"}, {"from": "gpt", "value": "Café."}]
_JSON = json.dumps({"id": "own", "conversations": _TURNS}).encode()


def _write(path: Path, members: list[tuple[str, bytes]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as tar:
        for name, content in members:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return path


def _read(path: Path, **config: str) -> list[Record]:
    return list(WebDataset(path, WebDatasetConfig(**config)).records(images=True))


def test_members_of_one_stem_are_one_record(tmp_path: Path):
    members = [
        ("a.jpg", b"A"),
        ("a.json", _JSON),
        ("b.json", b'{"x": 1}'),
        ("b.txt", b" a caption\n"),
        ("b.png", b"B"),
    ]
    a, b = _read(_write(tmp_path / "0.tar", members))
    assert a.value == {"id": "own", "conversations": _TURNS, "image": "a.jpg"}
    assert a.images == (b"A",)
    assert b.value == {
        "x": 1, "id": "b", "image": "b.png",
        "conversations": [
            {"from": "human", "value": "<image>\nDescribe the image."}, {"from": "gpt", "value": "a caption"},
        ],
    }  # fmt: skip
    assert json.loads(b.raw) == b.value


def test_datacomps_uid_is_the_id(tmp_path: Path):
    members = [("x.jpg", b"A"), ("x.txt", b"t"), ("x.json", b'{"uid": "0123456789abcdef0123456789abcdef"}')]
    (record,) = _read(_write(tmp_path / "0.tar", members))
    assert record.value["id"] == "0123456789abcdef0123456789abcdef"


def test_several_images_stand_by_number(tmp_path: Path):
    members = [(f"a.{i}.jpg", bytes([i])) for i in (10, 2, 0)] + [("a.json", _JSON)]
    (record,) = _read(_write(tmp_path / "0.tar", members))
    assert record.value["image"] == ["a.0.jpg", "a.2.jpg", "a.10.jpg"]
    assert record.images == (b"\0", b"\2", b"\n")


def test_another_convention_for_several_images_is_a_setting(tmp_path: Path):
    members = [("a_0.jpg", b"0"), ("a_1.jpg", b"1"), ("a.json", _JSON), ("b_c.jpg", b"2"), ("b_c.json", _JSON)]
    path = _write(tmp_path / "0.tar", members)
    assert [r.images for r in _read(path, number_after="_")] == [(b"0", b"1"), (b"2",)]
    assert len(_read(path)) == 4


def test_names_in_the_json_stay_where_they_are_as_many_as_the_images(tmp_path: Path):
    members = [
        ("a.jpg", b"A"),
        ("a.json", b'{"image": "coco/1.jpg"}'),
        ("b.jpg", b"B"),
        ("b.json", b'{"image": ["x", "y"]}'),
    ]
    assert [r.value["image"] for r in _read(_write(tmp_path / "0.tar", members))] == ["coco/1.jpg", "b.jpg"]


def test_text_only_and_folders_in_the_shard(tmp_path: Path):
    turns = [{"from": "human", "value": "q"}, {"from": "gpt", "value": "a"}]
    members = [("d/x.y/a.json", json.dumps({"conversations": turns}).encode()), ("d/a.json", _JSON), ("d/a.jpg", b"A")]
    first, second = _read(_write(tmp_path / "0.tar", members))
    assert first.value["id"] == "d/x.y/a"
    assert "image" not in first.value
    assert second.images == (b"A",)


def test_shards_are_read_in_the_order_of_their_names_with_or_without_images(tmp_path: Path):
    for i in (1, 0):
        _write(tmp_path / f"{i:05d}.tar", [(f"{i}.jpg", b"A"), (f"{i}.json", b"{}")])
    reader = WebDataset(tmp_path)
    with_images, without_images = (list(reader.records(images=p)) for p in (True, False))
    assert [(r.file, r.value["id"]) for r in with_images] == [(0, "0"), (1, "1")]
    assert [r.raw for r in with_images] == [r.raw for r in without_images]
    assert {r.images for r in without_images} == {None}


@pytest.mark.parametrize(
    ("content", "error"),
    [(b"{", "a: Expecting"), (b"[]", "a: its json is not an object"), (b'{"x": "\xe9"}', "a: 'utf-8' codec")],
)
def test_a_bad_member_costs_its_sample_only(tmp_path: Path, content: bytes, error: str):
    bad, good = _read(_write(tmp_path / "0.tar", [("a.json", content), ("b.json", b"{}")]))
    assert bad.error.startswith(error)
    assert (bad.value, good.value["id"]) == (None, "b")


def test_members_of_a_sample_that_are_apart_are_one_line(tmp_path: Path):
    path = _write(tmp_path / "0.tar", [("a.json", _JSON), ("b.json", b"{}"), ("a.jpg", b"A")])
    with pytest.raises(UserError, match=r"0\.tar: the members of sample 'a' are not adjacent; sort the tar by name"):
        _read(path)


def test_a_sample_that_occurs_twice_in_a_shard_is_rejected(tmp_path: Path):
    members = [("a.json", _JSON), ("b.json", b"{}"), ("a.json", _JSON)]
    records = _read(_write(tmp_path / "0.tar", members))
    assert [bool(r.error) for r in records] == [False, False, True]
    assert "a: the key has already occurred in this shard" in records[2].error


def test_keys_with_dots_are_a_setting_and_never_merged(tmp_path: Path):
    members = [(f"clip_0.{n}.{e}", b"%d" % n) for n in (5, 10) for e in ("jpg", "txt")]
    path = _write(tmp_path / "0.tar", members)
    with pytest.raises(
        UserError, match=r"clip_0\.5\.txt would be part of sample 'clip_0', .*webdataset\.key_ends_at=last_dot"
    ):
        _read(path)
    records = _read(path, key_ends_at="last_dot")
    assert [(r.value["id"], r.images) for r in records] == [("clip_0.5", (b"5",)), ("clip_0.10", (b"10",))]


def test_a_key_with_dots_is_found_by_a_second_text_too(tmp_path: Path):
    path = _write(tmp_path / "0.tar", [("v.a.json", _JSON), ("v.b.json", _JSON)])
    with pytest.raises(UserError, match=r"v\.b\.json would be part of sample 'v'"):
        _read(path)


def test_a_member_of_a_type_that_is_not_supported_costs_its_sample(tmp_path: Path):
    bad, good = _read(_write(tmp_path / "0.tar", [("a.mp4", b"A"), ("a.txt", b"a"), ("b.json", b"{}")]))
    assert bad.error == "a: its member a.mp4 is of a type that is not supported"
    assert not good.error


def test_an_image_that_the_json_names_and_the_shard_lacks_stays_in_the_record(tmp_path: Path):
    (record,) = _read(_write(tmp_path / "0.tar", [("a.json", b'{"images": ["x.jpg"]}')]))
    assert (record.value["images"], record.images) == (["x.jpg"], ())


def test_links_in_a_shard_are_not_followed(tmp_path: Path):
    path = tmp_path / "0.tar"
    with tarfile.open(path, "w") as tar:
        link = tarfile.TarInfo("a.jpg")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(link)
        info = tarfile.TarInfo("a.json")
        info.size = len(_JSON)
        tar.addfile(info, io.BytesIO(_JSON))
    (record,) = _read(path)
    assert record.images == ()


@pytest.mark.parametrize("keep", [100, 512 + 2, 1024, 512 * 4 + 7])
def test_a_shard_cut_anywhere_is_refused(tmp_path: Path, keep: int):
    path = _write(tmp_path / "0.tar", [("a.jpg", b"A"), ("a.json", _JSON), ("b.json", b"{}")])
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(UserError, match=r"0\.tar: not a complete tar file .* fetch it again"):
        _read(path)


def test_a_folder_without_shards_is_one_line(tmp_path: Path):
    with pytest.raises(UserError, match="holds no tar file"):
        WebDataset(tmp_path)


@pytest.mark.parametrize("fields", [{"number_after": "x"}, {"caption_prompt": " "}])
def test_senseless_settings_are_refused(fields: dict[str, str]):
    with pytest.raises(ValueError):
        WebDatasetConfig(**fields)


def test_many_members_of_one_sample_that_are_too_large_together_cost_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("mmssr_jax.pool.readers.webdataset.MAX_SAMPLE_BYTES", 3 << 20)
    members = [(f"a.{i}.jpg", bytes(1 << 20)) for i in range(9)] + [("a.json", _JSON), ("b.json", _JSON)]
    path = _write(tmp_path / "0.tar", members)
    for images in (True, False):
        a, b = WebDataset(path).records(images=images)
        assert a.error.startswith("a: its member ")
        assert a.error.endswith(" brings its sample over the limit of 3 MiB")
        assert (a.images, b.error) == (None, "")


def test_a_member_of_many_gib_that_takes_no_room_costs_its_sample(tmp_path: Path):
    """A sparse member of 20 GiB in a file of a few KiB, as GNU tar -S writes it."""
    size = 20 << 30
    pax = {"GNU.sparse.major": "0", "GNU.sparse.minor": "1", "GNU.sparse.size": str(size), "GNU.sparse.map": "0,4"}
    with tarfile.open(tmp_path / "0.tar", "w", format=tarfile.PAX_FORMAT) as tar:
        for name in ("a.jpg", "b.json"):
            info = tarfile.TarInfo(name)
            info.size, info.pax_headers = 4, pax
            tar.addfile(info, io.BytesIO(b"data"))
        info = tarfile.TarInfo("c.json")
        info.size = len(_JSON)
        tar.addfile(info, io.BytesIO(_JSON))
    for images in (True, False):
        a, b, c = WebDataset(tmp_path / "0.tar").records(images=images)
        assert a.error == f"a: its member a.jpg has {size} bytes, more than the limit of 256 MiB"
        assert b.error == f"b: its member b.json has {size} bytes, more than the limit of 64 MiB"
        assert c.value["id"] == "own"


def test_the_key_can_be_the_id_and_the_folder_of_a_shard_is_the_source(tmp_path: Path):
    stated = json.dumps({"id": "own", "source": "mine", "conversations": _TURNS}).encode()
    _write(tmp_path / "ai2d" / "000000.tar", [("48-0.jpg", b"A"), ("48-0.json", _JSON), ("48-1.json", stated)])
    _write(tmp_path / "001.tar", [("x.json", _JSON)])
    found = [(r.value["id"], r.value.get("source")) for r in _read(tmp_path, id="key")]
    assert found == [("x", None), ("48-0", "ai2d"), ("48-1", "mine")]
    assert [r.value["id"] for r in _read(tmp_path)] == ["own", "own", "own"]
    assert all(json.loads(r.raw) == r.value for r in _read(tmp_path, id="key"))


@pytest.mark.parametrize("name", ["\u24601", "\u00b2", "a" + "1" * 5000])
def test_digits_that_are_no_number_are_text(tmp_path: Path, name: str):
    (record,) = _read(_write(tmp_path / "0.tar", [(f"{name}.jpg", b"x"), (f"{name}.json", _JSON)]))
    assert (record.images, record.error) == ((b"x",), "")
