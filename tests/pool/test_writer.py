from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from mmssr_jax.core.artifact import Artifact
from mmssr_jax.core.errors import UserError
from mmssr_jax.pool.config import IngestConfig
from mmssr_jax.pool.readers.llava_json import LlavaJson
from mmssr_jax.pool.validate import validate
from mmssr_jax.pool.writer import file_names, portable, write_pool
from tests.pool.conftest import Record, record


def _reader(folder: Path, records: list[Any]) -> LlavaJson:
    path = folder / "pool.json"
    path.write_text(json.dumps(records))
    return LlavaJson(path)


def test_paths_inside_the_workdir_are_relative(tmp_path: Path):
    pool = tmp_path / "work" / "pool"
    assert portable(tmp_path / "work" / "synthetic" / "pool.json", pool) == "../synthetic/pool.json"
    assert portable(tmp_path / "pool.json", pool) == str(tmp_path / "pool.json")


def test_files_are_named_from_their_common_folder_on(tmp_path: Path):
    assert file_names([tmp_path / "pool.json"]) == ["pool.json"]
    assert file_names([tmp_path / "a" / "x.parquet", tmp_path / "b" / "x.parquet"]) == ["a/x.parquet", "b/x.parquet"]


def test_rejects_keep_ids_that_are_no_text_or_no_unicode(folder: Path):
    records = [record("a"), {**record("b"), "id": 7}, {**record("c"), "id": "\ud800"}, 5]
    artifact = Artifact(folder / "pool", stage="ingest", settings={})
    write_pool(artifact, _reader(folder, records), IngestConfig(), packed=False)
    rows = [json.loads(line) for line in (folder / "pool" / "rejects.jsonl").read_text().splitlines()]
    assert [(r["id"], r["source"], r["reason"], r["record"]) for r in rows] == [
        (7, "s", "bad_id", 1), ("\ud800", "s", "bad_id", 2), (None, "unknown", "not_an_object", 3),
    ]  # fmt: skip


def test_a_image_that_goes_between_checking_and_packing_is_one_line(folder: Path, good_records: list[Record]):
    reader = _reader(folder, good_records)
    artifact = Artifact(folder / "pool", stage="ingest", settings={})
    validate(reader, IngestConfig(), checks=folder / "pool" / "checks")
    (folder / "images" / "1.jpg").unlink()
    with pytest.raises(UserError, match=r"'several' was valid when it was checked, .*missing_image: images/1\.jpg"):
        write_pool(artifact, reader, IngestConfig(), packed=True)
