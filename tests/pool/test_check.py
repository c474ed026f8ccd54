from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from mmssr_jax.core.sample import ImageRef
from mmssr_jax.pool import check
from mmssr_jax.pool.check import check_images
from mmssr_jax.pool.config import RecordConfig
from mmssr_jax.pool.parse import scan, used_records
from mmssr_jax.pool.readers.llava_json import LlavaJson
from mmssr_jax.pool.record import Record as ParsedRecord
from tests.pool.conftest import Record, record


def _check(
    folder: Path, records: list[Record], *, verify: check.Verify = "full", blocks: Path | None = None
) -> pa.Table:
    path = folder / "pool.json"
    path.write_text(json.dumps(records))
    reader = LlavaJson(path)
    rows = scan(reader, RecordConfig()).rows
    return check_images(reader, rows, RecordConfig(), verify=verify, max_pixels=10_000, folder=blocks)


def _records(folder: Path) -> list[Record]:
    data = (folder / "images" / "0.jpg").read_bytes()
    (folder / "images" / "cut.jpg").write_bytes(data[: len(data) * 9 // 10])
    return [
        record("text"),
        record("good", ("images/0.jpg",)),
        record("cut", ("images/1.jpg", "images/cut.jpg")),
        record("gone", ("images/gone.jpg",)),
        record("two", ("images/0.jpg", "images/0.jpg")),
    ]


def test_every_row_gets_its_size_or_its_reason(folder: Path):
    table = _check(folder, _records(folder))
    size = (folder / "images" / "0.jpg").stat().st_size
    assert table["reason"].to_pylist() == [None, None, "unreadable_image", "missing_image", None]
    assert table["image_bytes"].to_pylist() == [0, size, 0, 0, 2 * size]
    assert table["detail"][2].as_py().startswith("cut.jpg: ")


def test_header_only_finds_missing_images_alone(folder: Path):
    table = _check(folder, _records(folder), verify="header")
    assert table["reason"].to_pylist() == [None, None, None, "missing_image", None]


def test_a_run_cut_off_checks_only_the_rest(folder: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(check, "BLOCK", 2)
    records, blocks = _records(folder), folder / "checks"
    whole = _check(folder, records, blocks=blocks)
    assert [p.name for p in sorted(blocks.iterdir())] == [f"block-{i:06d}.parquet" for i in range(3)]
    (blocks / "block-000002.parquet").unlink()
    opened: list[str] = []
    read = ImageRef.read

    def spy(self: ImageRef) -> bytes:
        opened.append(str(self.path))
        return read(self)

    monkeypatch.setattr(ImageRef, "read", spy)
    assert _check(folder, records, blocks=blocks).equals(whole)
    assert opened == [str(folder / "images" / "0.jpg")] * 2  # of the last sample alone


def test_a_pool_without_rows_has_no_checks(folder: Path):
    assert _check(folder, []).num_rows == 0


def test_an_image_file_of_many_gib_is_not_read(folder: Path):
    with open(folder / "images" / "0.jpg", "r+b") as f:
        f.truncate(20 << 30)  # sparse: it takes no room
    records = [record("large", ("images/0.jpg",)), record("good", ("images/1.jpg",))]
    for verify in ("full", "header"):
        table = _check(folder, records, verify=verify)
        assert table["reason"].to_pylist() == ["image_too_large", None]
        assert "0.jpg: has 21474836480 bytes, more than the limit of 256 MiB" in table["detail"][0].as_py()


def test_only_the_records_under_way_are_in_memory(folder: Path, monkeypatch: pytest.MonkeyPatch):
    """Embedded images are in memory from their reading to their check: of 32 records a thread, not of a block."""
    path = folder / "pool.json"
    path.write_text(json.dumps([record(f"r{i}") for i in range(1000)]))
    reader = LlavaJson(path)
    rows = scan(reader, RecordConfig()).rows
    read, checked, most = [0], [0], [0]
    check_record = check._check_record

    def used(*args: Any) -> Iterator[ParsedRecord]:
        for one in used_records(*args):
            read[0] += 1
            most[0] = max(most[0], read[0] - checked[0])
            yield one

    def spy(*args: Any) -> Any:
        checked[0] += 1
        return check_record(*args)

    monkeypatch.setattr(check, "used_records", used)
    monkeypatch.setattr(check, "_check_record", spy)
    monkeypatch.setattr("os.cpu_count", lambda: 2)
    table = check_images(reader, rows, RecordConfig(), verify="full", max_pixels=10_000)
    assert (table.num_rows, checked[0]) == (1000, 1000)
    assert most[0] <= 4 * 32
