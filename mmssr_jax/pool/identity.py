"""The identity of a record: its id, its source, and a hash of its content."""

from __future__ import annotations

import hashlib
import json
from pathlib import PurePosixPath
from typing import Any

from mmssr_jax.pool.config import AUTO_ID, RecordConfig, SourceConfig
from mmssr_jax.pool.reasons import Reason, RejectedError, Repair

UNKNOWN_SOURCE = "unknown"
_MAX_SOURCE_CHARS = 1000
_CONTENT = ("image", "video", "conversations")
_CONTENT_VARIANTS = ("images", "videos", "audio", "audios", "messages")
_OTHER_FIELDS = ("data_source", "image_source")
SOURCE_FIELDS = ("source", *_OTHER_FIELDS)


def original_id(record: dict[str, Any], rules: RecordConfig) -> tuple[str | None, tuple[Repair, ...]]:
    """The record's id, and the repairs that it needed.

    With id="auto" a missing or malformed id is not a defect: the result is None.

    Raises:
      RejectedError: MISSING_ID or BAD_ID.
    """
    field = "id" if rules.id == AUTO_ID else rules.id
    value = record.get(field)
    breaks = isinstance(value, str) and ("\n" in value or "\r" in value)
    if isinstance(value, str) and value.strip() and is_unicode(value) and not breaks:
        return value, ()
    if rules.id == AUTO_ID:
        return None, ()
    if value is None:
        raise RejectedError(Reason.MISSING_ID, f"has no field {field!r}")
    if rules.repair == "llava" and isinstance(value, int) and not isinstance(value, bool):
        return str(value), (Repair.NUMBER_AS_ID,)
    blank = isinstance(value, str) and not value.strip()
    kind = "blank" if blank else f"more than one line: {value!r}" if breaks else f"not text: {value!r}"
    raise RejectedError(Reason.BAD_ID, f"its {field!r} is {kind}")


def source_of(record: dict[str, Any], images: tuple[str, ...], rules: SourceConfig) -> str:
    """The sample's source; `UNKNOWN_SOURCE` if the record names none.

    Raises:
      RejectedError: BAD_SOURCE, the field is not text, or it is longer than any name is.
    """
    source = _source_of(record, images, rules)
    if len(source) > _MAX_SOURCE_CHARS:
        detail = f"its source has {len(source)} characters, more than the limit of {_MAX_SOURCE_CHARS}"
        raise RejectedError(Reason.BAD_SOURCE, detail)
    return source


def _source_of(record: dict[str, Any], images: tuple[str, ...], rules: SourceConfig) -> str:
    if rules.constant is not None:
        return rules.constant
    if rules.path_parts is not None:
        folders = PurePosixPath(images[0]).parent.parts[: rules.path_parts] if images else ()
        return "/".join(folders) or UNKNOWN_SOURCE
    names = (rules.field, *_OTHER_FIELDS)
    value = next((record[name] for name in names if record.get(name) is not None), None)
    if value is None:
        return UNKNOWN_SOURCE
    if not isinstance(value, str) or not value.strip() or not is_unicode(value):
        raise RejectedError(Reason.BAD_SOURCE, f"its source is {value!r}, expected text")
    return value


def content_hash(record: Any) -> int:
    """A 64-bit hash of the media paths and the conversation, independent of JSON formatting and key order."""
    if isinstance(record, dict):
        content = [record.get(field) for field in _CONTENT]
        variants = {field: record[field] for field in _CONTENT_VARIANTS if record.get(field)}
        record = [*content, variants] if variants else content  # ids made by "auto" must not change
    canonical = json.dumps(record, sort_keys=True, separators=(",", ":"))
    return int.from_bytes(hashlib.blake2b(canonical.encode("ascii"), digest_size=8).digest())


def is_unicode(text: str) -> bool:
    """Whether the text can be encoded as UTF-8, i.e. contains no lone surrogate."""
    if text.isascii():
        return True
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True
