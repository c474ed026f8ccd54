"""Inputs that public reports and real tools show, kept beside the repository in `shared/cases`; see its README."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from mmssr_jax.core.errors import UserError
from mmssr_jax.core.sample import IMAGE_TAG
from mmssr_jax.core.stage import StageContext
from mmssr_jax.core.workdir import Workdir
from mmssr_jax.images.decode import open_rgb
from mmssr_jax.images.frames import DEFAULT_FRAMES
from mmssr_jax.pool.pool import Pool, open_pool
from mmssr_jax.stages import ingest
from mmssr_jax.stages.select import stage as select

Reject = dict[str, Any]


@pytest.fixture
def cases(shared: Path) -> Path:
    if not (shared / "cases").is_dir():
        pytest.skip("there are no cases beside the repository")
    return shared / "cases"


def _ingest(work: Path, path: Path, **fields: Any) -> tuple[Pool, dict[str, Reject]]:
    """The pool, and its rejects by id."""
    ingest.run(StageContext({"pool": {"path": str(path), **fields}}, Workdir(work)))
    rejects = [json.loads(line) for line in (work / "pool" / "rejects.jsonl").read_text().splitlines()]
    return open_pool(work / "pool"), {str(r["id"]): r for r in rejects}


def _moved_to(cases: Path, path: Path) -> Path:
    """A copy of a JSON whose absolute paths lead to the cases."""
    path.write_text((cases / "case_mismatch" / path.name).read_text().replace("/data/cases", str(cases)))
    return path


BOTH = pytest.mark.parametrize("repair", ["strict", "llava"])


def test_images_without_tags_are_used_or_named(cases: Path, tmp_path: Path):
    path = cases / "sharegpt_images" / "notag.json"
    pool, rejects = _ingest(tmp_path / "llava", path, repair="llava")
    assert (pool.n_images.tolist(), rejects) == ([1, 1, 1], {})
    assert {s.turns[0].text for s in pool} == {f"{IMAGE_TAG}\nWhat is shown?"}
    assert pool.manifest["counts"]["repairs"] == {"added_image_tag": 3}
    with pytest.raises(
        UserError, match=r"image_tag_mismatch 3.*0 <image> tags, 1 images in 'images'; --config\.pool\.repair=llava"
    ):
        _ingest(tmp_path / "strict", path)


@BOTH
@pytest.mark.parametrize(("name", "n_images"), [("tag.json", [1, 1, 1]), ("mixed.json", [1, 1, 2, 1, 2])])
def test_images_with_tags_are_all_used(cases: Path, tmp_path: Path, name: str, n_images: list[int], repair: str):
    pool, rejects = _ingest(tmp_path, cases / "sharegpt_images" / name, repair=repair)
    assert (pool.n_images.tolist(), rejects) == (n_images, {})
    assert [s.turns[0].text.count(IMAGE_TAG) for s in pool] == n_images
    assert all(open_rgb(image.read()) for s in pool for image in s.images)
    assert pool.manifest["counts"]["repairs"].get("expanded_image_tag", 0) == sum(n > 1 for n in n_images)


@BOTH
@pytest.mark.parametrize("packed", [False, True])
def test_video_is_the_tag_of_the_video(cases: Path, tmp_path: Path, repair: str, packed: bool):
    pool, rejects = _ingest(tmp_path, cases / "video_tag" / "pool.json", repair=repair, packed=packed)
    assert (pool.ids.tolist(), rejects) == (["vid", "img", "vids"], {})
    for sample in pool:
        assert len(sample.images) == DEFAULT_FRAMES
        assert sample.turns[0].text.startswith(IMAGE_TAG * DEFAULT_FRAMES + "\nWhat")
        assert "<video>" not in sample.turns[0].text


@BOTH
def test_messages_and_images(cases: Path, tmp_path: Path, repair: str):
    pool, rejects = _ingest(tmp_path, cases / "lf_messages" / "pool.json", repair=repair)
    assert (pool.n_images.tolist(), rejects) == ([1, 1, 1], {})


@BOTH
def test_content_as_a_list_of_parts(cases: Path, tmp_path: Path, repair: str):
    pool, rejects = _ingest(tmp_path, cases / "content_list" / "pool.json", repair=repair)
    assert (pool.n_images.tolist(), rejects) == ([1, 1, 1], {})
    assert pool[0].turns[0].text == f"{IMAGE_TAG}\nWhat colour?"
    assert pool[0].turns[1].text == "Blue."


@BOTH
@pytest.mark.parametrize("packed", [False, True])
def test_a_leading_system_turn_is_the_system_prompt(cases: Path, tmp_path: Path, repair: str, packed: bool):
    pool, rejects = _ingest(tmp_path, cases / "system_role" / "pool.json", repair=repair, packed=packed)
    assert rejects == {}
    assert [s.system for s in pool] == ["You drive a phone."] * 3 + [None]
    assert {tuple(t.role for t in s.turns) for s in pool} == {("user", "assistant")}


def test_another_spelling_of_a_path_is_named_with_the_file(cases: Path, tmp_path: Path):
    pool, rejects = _ingest(tmp_path, cases / "case_mismatch" / "pool.json")
    assert pool.ids.tolist() == ["dot"]
    assert Counter(r["reason"] for r in rejects.values()) == {
        "missing_image": 4, "path_outside": 1, "bad_image_field": 1,
    }  # fmt: skip
    for id in ("c0", "c1", "c2", "win"):
        assert "but web-nature/images/Nest.JPG is; paths use / and are case-sensitive" in rejects[id]["detail"]
    assert "is outside of the images folder" in rejects["abs"]["detail"]
    assert "save the file and give its path" in rejects["url"]["detail"]


@pytest.mark.parametrize("root", ["/", "case_mismatch"])
def test_absolute_paths_inside_the_images_folder(cases: Path, tmp_path: Path, root: str):
    images = root if root == "/" else str(cases / root)
    pool, rejects = _ingest(tmp_path / "work", _moved_to(cases, tmp_path / "abs.json"), images=images)
    assert (pool.n_images.tolist(), rejects) == ([1, 1, 1], {})


def test_absolute_paths_outside_of_the_images_folder_are_named(cases: Path, tmp_path: Path):
    with pytest.raises(UserError, match=r"path_outside 3.*Nest\.JPG' is outside .*--config\.pool\.images=FOLDER"):
        _ingest(tmp_path / "work", _moved_to(cases, tmp_path / "abs.json"))


def test_dots_in_the_keys_of_a_webdataset_are_not_merged(cases: Path, tmp_path: Path):
    path = cases / "wds_dots_caption"
    with pytest.raises(
        UserError, match=r"would be part of sample 'clip_0'.*--config\.pool\.webdataset\.key_ends_at=last_dot"
    ):
        _ingest(tmp_path / "first", path, packed=True)
    pool, rejects = _ingest(tmp_path / "last", path, packed=True, webdataset={"key_ends_at": "last_dot"})
    assert (pool.ids.tolist(), rejects) == (["clip_0.05", "clip_0.10", "clip_0.15"], {})
    assert pool.n_images.tolist() == [1, 1, 1]


def test_members_of_a_sample_that_are_apart(cases: Path, tmp_path: Path):
    with pytest.raises(UserError, match=r"the members of sample 'a' are not adjacent; sort the tar by name") as e:
        _ingest(tmp_path, cases / "wds_apart", packed=True)
    assert "\n" not in str(e.value)


def test_orientation_is_applied_by_its_tag_alone(cases: Path, tmp_path: Path):
    pool, rejects = _ingest(tmp_path, cases / "exif_pool" / "pool.json")
    assert (len(pool), rejects) == (12, {})
    assert {open_rgb(image.read()).size for s in pool for image in s.images} == {(48, 64)}


def test_later_stages_decode_every_image_that_ingest_took(cases: Path, tmp_path: Path):
    _ingest(tmp_path, cases / "exif_pool" / "pool.json")
    settings = {
        "method": "random", "budget": {"count": 12}, "near_duplicates": {"by": "image"},
        "formats": ("hf_parquet", "webdataset", "packed"),
    }  # fmt: skip
    select.run(StageContext({"select": {"selections": {"main": settings}}}, Workdir(tmp_path)))
    picked = open_pool(Workdir(tmp_path).selection("main") / "packed")
    assert all(open_rgb(image.read()).size == (48, 64) for s in picked for image in s.images)


@pytest.mark.parametrize("name", ["pq_list_item", "pq_large", "pq_dict_source"])
def test_columns_of_other_types(cases: Path, tmp_path: Path, name: str):
    pool, rejects = _ingest(tmp_path, cases / name, packed=True)
    assert (pool.ids.tolist(), rejects) == (["p0", "p1", "p2", "p3"], {})
    rows = pq.read_table(cases / name / "t.parquet").to_pylist()
    assert pool.sources.tolist() == [row["data_source"] for row in rows]
    images = [row.get("images") or [row["image"]] for row in rows]
    assert [[i.read() for i in s.images] for s in pool] == [[i["bytes"] for i in row] for row in images]


def test_a_null_among_the_images_costs_its_row(cases: Path, tmp_path: Path):
    pool, rejects = _ingest(tmp_path, cases / "pq_null_in_list", packed=True)
    assert pool.ids.tolist() == ["p0", "p3"]
    assert [rejects[id]["reason"] for id in ("p1", "p2")] == ["bad_image_field", "missing_image"]
    assert "None" in rejects["p1"]["detail"]
    assert "its bytes are null" in rejects["p2"]["detail"]


def test_a_path_without_bytes_is_the_file_beside(cases: Path, tmp_path: Path):
    pool, rejects = _ingest(tmp_path / "with", cases / "pq_path_only", packed=True)
    assert (pool.n_images.tolist(), rejects) == ([1, 1, 1, 1], {})
    (tmp_path / "alone").mkdir()
    shutil.copy(cases / "pq_path_only" / "t.parquet", tmp_path / "alone")
    with pytest.raises(UserError, match=r"missing_image 4.*its bytes are null, and 0\.png is not in"):
        _ingest(tmp_path / "without", tmp_path / "alone", packed=True)


def test_finevision(cases: Path, tmp_path: Path):
    pool, rejects = _ingest(tmp_path, cases / "pq_finevision", packed=True)
    assert (pool.ids.tolist(), rejects) == ([f"t/{i:08d}" for i in range(4)], {})
    rows = pq.read_table(cases / "pq_finevision" / "t.parquet").to_pylist()
    for sample, row in zip(pool, rows, strict=True):
        assert [i.read() for i in sample.images] == [i["bytes"] for i in row["images"]]
        texts = [text for pair in row["texts"] for text in (pair["user"], pair["assistant"])]
        assert [t.text for t in sample.turns] == [f"{IMAGE_TAG}\n" * len(row["images"]) + texts[0], *texts[1:]]
        assert sample.source == row["source"]
