from __future__ import annotations

import json
from pathlib import Path

import pytest

from mmssr_jax.core.errors import UserError
from mmssr_jax.pool.readers.llava_json import READER, LlavaJson
from mmssr_jax.pool.record import Record


def _records(reader: LlavaJson) -> list[Record]:
    return list(reader.records(images=True))


def test_a_list_and_lines_hold_the_same(tmp_path: Path):
    values = [{"id": "a", "x": "é"}, {"id": "b"}]
    (tmp_path / "pool.json").write_text(json.dumps(values))
    (tmp_path / "pool.jsonl").write_text("".join(json.dumps(v) + "\n" for v in values))
    read = [_records(LlavaJson(tmp_path / name)) for name in ("pool.json", "pool.jsonl")]
    assert [[(r.number, r.value, r.raw) for r in records] for records in read] == [
        [(i, v, json.dumps(v).encode()) for i, v in enumerate(values)]
    ] * 2


def test_the_content_decides_not_the_name(tmp_path: Path):
    path = tmp_path / "lines.json"
    path.write_text('{"id": "a"}\n{"id": "b"}\n')
    assert [r.value["id"] for r in _records(LlavaJson(path))] == ["a", "b"]


def test_images_lie_beside_the_file_or_where_configured(tmp_path: Path):
    path = tmp_path / "pool.json"
    path.write_text("[]")
    (tmp_path / "elsewhere").mkdir()
    assert LlavaJson(path).images_root(0) == tmp_path.resolve()
    assert LlavaJson(path, tmp_path / "elsewhere").images_root(0) == (tmp_path / "elsewhere").resolve()


def test_what_is_not_there_is_named_with_its_setting(tmp_path: Path):
    (tmp_path / "pool.json").write_text("[]")
    with pytest.raises(UserError, match=r"gone\.json: no such file; path=FILE"):
        LlavaJson(tmp_path / "gone.json")
    with pytest.raises(UserError, match=r"nowhere: no such folder; images=FOLDER"):
        READER.open(tmp_path / "pool.json", READER.settings(images=str(tmp_path / "nowhere")))
