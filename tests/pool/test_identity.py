from __future__ import annotations

from typing import Any

import pytest

from mmssr_jax.pool.config import AUTO_ID, RecordConfig, SourceConfig
from mmssr_jax.pool.identity import content_hash, original_id, source_of
from mmssr_jax.pool.reasons import Reason, RejectedError, Repair


@pytest.mark.parametrize(
    ("record", "rules", "expected"),
    [
        ({"id": "a"}, RecordConfig(), ("a", ())),
        ({"id": "a", "uid": "b"}, RecordConfig(id="uid"), ("b", ())),
        ({"id": 7}, RecordConfig(repair="llava"), ("7", (Repair.NUMBER_AS_ID,))),
        ({"id": "a"}, RecordConfig(id=AUTO_ID), ("a", ())),
        ({"id": 7}, RecordConfig(id=AUTO_ID), (None, ())),
        ({}, RecordConfig(id=AUTO_ID), (None, ())),
    ],
)
def test_the_id_is_the_named_field(record: dict[str, Any], rules: RecordConfig, expected: tuple[Any, Any]):
    assert original_id(record, rules) == expected


@pytest.mark.parametrize(
    ("record", "rules", "reason"),
    [
        ({}, RecordConfig(), Reason.MISSING_ID),
        ({"id": None}, RecordConfig(), Reason.MISSING_ID),
        ({"id": "a"}, RecordConfig(id="uid"), Reason.MISSING_ID),
        ({"id": 7}, RecordConfig(), Reason.BAD_ID),
        ({"id": " "}, RecordConfig(), Reason.BAD_ID),
        ({"id": True}, RecordConfig(repair="llava"), Reason.BAD_ID),
        ({"id": "\ud800"}, RecordConfig(), Reason.BAD_ID),
        ({"id": "a\nb"}, RecordConfig(), Reason.BAD_ID),
        ({"id": "a\r"}, RecordConfig(repair="llava"), Reason.BAD_ID),
    ],
)
def test_an_id_that_is_no_text_is_rejected(record: dict[str, Any], rules: RecordConfig, reason: Reason):
    with pytest.raises(RejectedError) as e:
        original_id(record, rules)
    assert e.value.reason == reason


@pytest.mark.parametrize(
    ("record", "images", "rules", "expected"),
    [
        ({"source": "s"}, (), SourceConfig(), "s"),
        ({"data_source": "d", "source": "s"}, (), SourceConfig(field="data_source"), "d"),
        ({"data_source": "d"}, (), SourceConfig(), "d"),
        ({"source": None, "image_source": "i"}, (), SourceConfig(), "i"),
        ({}, (), SourceConfig(), "unknown"),
        ({"source": "s"}, ("coco/train/1.jpg",), SourceConfig(path_parts=1), "coco"),
        ({"source": "s"}, ("coco/train/1.jpg",), SourceConfig(path_parts=2), "coco/train"),
        ({"source": "s"}, ("coco/train/1.jpg",), SourceConfig(path_parts=9), "coco/train"),
        ({"source": "s"}, ("1.jpg",), SourceConfig(path_parts=1), "unknown"),
        ({"source": "s"}, (), SourceConfig(path_parts=1), "unknown"),
        ({"source": "s"}, ("coco/1.jpg",), SourceConfig(path_parts=1, constant="mine"), "mine"),
    ],
)
def test_the_source_is_a_field_a_path_prefix_or_a_constant(
    record: dict[str, Any], images: tuple[str, ...], rules: SourceConfig, expected: str
):
    assert source_of(record, images, rules) == expected


@pytest.mark.parametrize("value", [3, "", " ", ["a"], "\ud800"])
def test_a_source_that_is_no_text_is_rejected(value: Any):
    with pytest.raises(RejectedError) as e:
        source_of({"source": value}, (), SourceConfig())
    assert e.value.reason == Reason.BAD_SOURCE


def test_the_content_is_image_and_conversation_however_written():
    turns = [{"from": "human", "value": "é"}, {"value": "\ud800", "from": "gpt"}]
    base = content_hash({"id": "a", "image": "x", "conversations": turns})
    assert base == content_hash({"conversations": [dict(reversed(t.items())) for t in turns], "image": "x", "extra": 1})
    assert base != content_hash({"image": "y", "conversations": turns})
    assert base != content_hash({"image": "x", "conversations": turns[:1]})
    assert 0 <= content_hash([1, None, "a"]) < 1 << 64


@pytest.mark.parametrize("field", ["image", "images", "video", "videos", "audio", "audios", "messages"])
def test_the_content_covers_every_field_of_media_and_messages(field: str):
    record = {"id": "a", "conversations": [{"from": "human", "value": "q"}]}
    hashes = {content_hash({**record, **more}) for more in ({}, {field: ["x"]}, {field: ["y"]})}
    assert len(hashes) == 3
    assert content_hash({**record, field: []}) == content_hash({**record, field: []})


def test_ids_made_of_the_content_do_not_change():
    turns = [{"from": "human", "value": "q"}, {"from": "gpt", "value": "a"}]
    assert f"{content_hash({'image': 'x.jpg', 'conversations': turns}):016x}" == "e004ce633494d250"


@pytest.mark.parametrize("fields", [{"path_parts": 0}, {"constant": ""}])
def test_senseless_settings_are_refused(fields: dict[str, Any]):
    with pytest.raises(ValueError, match="expected"):
        SourceConfig(**fields)


@pytest.mark.parametrize("rules", [SourceConfig(), SourceConfig(path_parts=1)])
def test_a_source_longer_than_a_name_is_rejected(rules: SourceConfig):
    images = ("x" * 1000 + "/a.jpg",)
    assert source_of({"source": "x" * 1000}, images, rules) == "x" * 1000
    with pytest.raises(RejectedError, match="1001 characters, more than the limit of 1000") as e:
        source_of({"source": "x" * 1001}, ("x" * 1001 + "/a.jpg",), rules)
    assert e.value.reason == Reason.BAD_SOURCE
