from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from mmssr_jax.core.errors import UserError
from mmssr_jax.pool.config import IngestConfig, RecordConfig
from mmssr_jax.pool.readers.llava_json import LlavaJson
from mmssr_jax.pool.validate import Validation, validate
from tests.pool.conftest import Record, record

# index in pool_bad.json -> the reason that its note stands for; all others are "unusual", i.e. used
_BAD = {
    0: "missing_image", 1: "unreadable_image", 2: "unreadable_image", 3: "role_order", 4: "role_order", 5: "unanswered",
    6: "unknown_role", 7: "empty_answer", 8: "empty_answer", 9: "empty_question", 10: "image_tag_mismatch",
    11: "image_tag_mismatch", 12: "image_tag_mismatch", 13: "image_tag_mismatch", 16: "surrogate", 18: "duplicate_id",
    19: "duplicate_id", 20: "bad_id", 21: "missing_id", 22: "not_a_string", 23: "not_a_string",
}  # fmt: skip


def _validate(folder: Path, records: list[Any], rules: RecordConfig | None = None, **config: Any) -> Validation:
    path = folder / "pool.json"
    path.write_text(json.dumps(records))
    return validate(LlavaJson(path), IngestConfig(rules or RecordConfig(), **config))


def _rejected(found: Validation) -> dict[int, tuple[Any, str]]:
    rows = found.rejects.to_pylist()
    return {r["position"]: (json.loads(r["id"]), r["reason"]) for r in rows}


@pytest.fixture(scope="module")
def bad(shared: Path) -> tuple[list[Record], list[dict[str, Any]], Validation]:
    pool = shared / "pool"
    notes = json.loads((pool / "pool_bad_notes.json").read_text())
    records = json.loads((pool / "pool_bad.json").read_text())
    return records, notes, validate(LlavaJson(pool / "pool_bad.json"), IngestConfig())


@pytest.mark.parametrize("index", range(34))
def test_every_bad_record_ends_as_its_class_says(
    bad: tuple[list[Record], list[dict[str, Any]], Validation], index: int
):
    _, notes, found = bad
    note = notes[index]
    assert note["index"] == index
    accepted = found.rows["position"].to_pylist()
    if note["class"] == "unusual":
        assert index in accepted
        assert index not in _rejected(found)
    else:
        assert index not in accepted
        assert _rejected(found)[index] == (note["id"], _BAD[index])


def test_every_bad_record_is_accounted_for(bad: tuple[list[Record], list[dict[str, Any]], Validation]):
    records, notes, found = bad
    assert len(notes) == len(records) == 34
    assert found.rows.num_rows + found.rejects.num_rows == 34
    assert {n["index"] for n in notes if n["class"] != "unusual"} == set(_BAD)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("pool_bad_latin1.json", r"pool_bad_latin1\.json: not valid UTF-8 at byte 252 \(line 2\); if it is Latin-1, "),
        (
            "pool_bad_cut.json",
            r"pool_bad_cut\.json: not valid JSON: the file ends at byte 5656 .* fetch or copy it again",
        ),
    ],
)
def test_a_file_that_is_not_readable_is_one_clear_line(shared: Path, name: str, message: str):
    with pytest.raises(UserError, match=message):
        validate(LlavaJson(shared / "pool" / name), IngestConfig())


@pytest.mark.parametrize("index", sorted(set(_BAD) - {19}))
def test_a_good_pool_with_one_bad_record_loses_that_record_only(folder: Path, shared: Path, index: int):
    bad = json.loads((shared / "pool" / "pool_bad.json").read_text())
    images = bad[index].get("image") or []
    for name in [images] if isinstance(images, str) else images:
        if (shared / "pool" / name).exists():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(shared / "pool" / name, folder / name)
    good = [record("a"), record("b", ("images/0.jpg",)), record("c")]
    added = bad[18:20] if index == 18 else [bad[index]]
    found = _validate(folder, [*good[:2], *added, *good[2:]])
    assert found.rows["id"].to_pylist() == ["a", "b", "c"]
    assert found.rejects["reason"].to_pylist() == [_BAD[index]] * len(added)


def test_the_real_pool_is_ingested_whole(shared: Path):
    found = validate(LlavaJson(shared / "pool" / "pool.json"), IngestConfig())
    counts = found.counts()
    assert found.rejects.num_rows == 0
    assert {k: counts[k] for k in ("samples", "text_only", "multi_image", "repaired")} == {
        "samples": 2650, "text_only": 80, "multi_image": 232, "repaired": 0,
    }  # fmt: skip
    assert counts["sources"]["tabmwp"] == 380
    assert list(counts["sources"])[-1] == "bbbframes"
    assert len(counts["sources"]) == 15
    assert found.rows["id"].to_pylist() == [r["id"] for r in json.loads((shared / "pool" / "pool.json").read_text())]


def test_counts_are_of_samples_images_and_repairs(folder: Path):
    records = [
        record("a", ("images/0.jpg",)),
        record("b", ("images/0.jpg", "images/1.jpg"), source="t"),
        record("c", image="images/2.jpg"),  # no tag
        record("d"),
        record("e", ("images/gone.jpg",)),
        "not a record",
    ]
    counts = _validate(folder, records, RecordConfig(repair="llava")).counts()
    assert counts == {
        "samples": 4, "rejected": 2, "repaired": 1, "images": 4, "text_only": 1, "single_image": 2, "multi_image": 1,
        "sources": {"s": 3, "t": 1}, "reasons": {"missing_image": 1, "not_an_object": 1},
        "repairs": {"added_image_tag": 1},
    }  # fmt: skip


def test_a_limit_takes_the_first_records(folder: Path):
    found = _validate(folder, [record(str(i)) for i in range(9)], limit=3)
    assert found.rows["id"].to_pylist() == ["0", "1", "2"]
    assert found.rejects.num_rows == 0


def test_a_pool_of_which_nothing_can_be_used_is_one_line(folder: Path):
    records = [record(str(i), ("nowhere.jpg",)) for i in range(3)]
    with pytest.raises(
        UserError, match=r"none of its 3 records .*\(missing_image 3\); the first: \"0\", nowhere.*images=FOLDER"
    ):
        _validate(folder, records)


def test_a_wrong_images_folder_is_one_line_though_some_records_need_none(folder: Path):
    records = [record(f"t{i}") for i in range(3)] + [record(f"i{i}", (f"nowhere/{i}.jpg",)) for i in range(10)]
    with pytest.raises(UserError, match=r"none of the images of its 10 records .* exists, .*images=FOLDER"):
        _validate(folder, records)
    assert _validate(folder, [*records, record("there", ("images/0.jpg",))]).rejects.num_rows == 10


def test_an_empty_pool_is_one_line(folder: Path):
    with pytest.raises(UserError, match="holds no records"):
        _validate(folder, [])


def test_images_above_the_limit_are_rejected(folder: Path):
    found = _validate(folder, [record("a"), record("b", ("images/0.jpg",))], max_pixels=24 * 16 - 1)
    assert _rejected(found) == {1: ("b", "image_too_large")}


@pytest.mark.parametrize("fields", [{"max_pixels": 0}, {"max_pixels": 10**9}, {"limit": 0}])
def test_senseless_settings_are_refused(fields: dict[str, int]):
    with pytest.raises(ValueError, match="expected"):
        IngestConfig(**fields)  # type: ignore[arg-type]


def test_a_file_of_another_form_is_shown_what_a_pool_looks_like(folder: Path):
    notes = [{"id": str(i), "note": "no conversation"} for i in range(3)]
    with pytest.raises(UserError, match=r"none of its 3 records .*\(no_conversation 3\).*expected records of the form"):
        _validate(folder, notes)


def test_a_record_above_the_limit_is_rejected(folder: Path, monkeypatch: pytest.MonkeyPatch):
    """Whatever the format: a compressed row of a few KiB may hold gigabytes of text."""
    monkeypatch.setattr("mmssr_jax.pool.parse.MAX_RECORD_BYTES", 1000)
    records = [record("small"), record("large", extra="x" * 1000)]
    (folder / "pool.json").write_text(json.dumps(records))
    result = validate(LlavaJson(folder / "pool.json"), IngestConfig())
    assert result.rows["id"].to_pylist() == ["small"]
    assert "more than the limit" in result.rejects["detail"][0].as_py()
