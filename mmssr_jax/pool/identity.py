"""How the records of a foreign pool are read: which field is the id, what the source is, what is mended."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from pathlib import PurePosixPath
from typing import Any, Literal

from mmssr_jax.images.frames import DEFAULT_FRAMES
from mmssr_jax.pool.reasons import Reason, RejectedError, Repair

AUTO_ID = "auto"
UNKNOWN_SOURCE = "unknown"
_OTHER_FIELDS = ("data_source", "image_source")


@dataclasses.dataclass(frozen=True)
class SourceConfig:
    """Where a sample's source is found; the first of the three that is set decides, from below.

    Attributes:
      field: the record's field that names it; where it is absent, "data_source" and "image_source" are tried, as
        LLaVA-OneVision and mmSSR call it.
      path_parts: take so many leading folders of the first image's path: 2 of "coco/train2017/1.jpg" is
        "coco/train2017".
      constant: one name for all samples.
    """

    field: str = "source"
    path_parts: int | None = None
    constant: str | None = None

    def __post_init__(self) -> None:
        if self.path_parts is not None and self.path_parts < 1:
            raise ValueError(f"path_parts is {self.path_parts}; expected 1 or more")
        if self.constant == "":
            raise ValueError("constant is empty; expected a name")


@dataclasses.dataclass(frozen=True)
class RecordConfig:
    """How a record becomes a sample.

    Attributes:
      id: the field that holds the id, or "auto": made of the content and its occurrence.
      source: see `SourceConfig`.
      repair: "strict" rejects what breaks the format; "llava" mends what LLaVA-NeXT's loader lets pass.
      follow_links: let a link inside the images folder lead out of it; otherwise such a picture is rejected.
      frames: pictures that a video becomes, at even distances in time.
    """

    id: str = "id"
    source: SourceConfig = dataclasses.field(default_factory=SourceConfig)
    repair: Literal["strict", "llava"] = "strict"
    follow_links: bool = False
    frames: int = DEFAULT_FRAMES

    def __post_init__(self) -> None:
        if self.frames < 1:
            raise ValueError(f"frames is {self.frames}; expected 1 or more")


def original_id(record: dict[str, Any], rules: RecordConfig) -> tuple[str | None, tuple[Repair, ...]]:
    """The record's own id, as text.

    With "auto" a missing or odd id is no defect: None is returned.

    Raises:
      RejectedError: MISSING_ID or BAD_ID.
    """
    field = "id" if rules.id == AUTO_ID else rules.id
    value = record.get(field)
    if isinstance(value, str) and value.strip() and is_unicode(value):
        return value, ()
    if rules.id == AUTO_ID:
        return None, ()
    if value is None:
        raise RejectedError(Reason.MISSING_ID, f"has no field {field!r}")
    if rules.repair == "llava" and isinstance(value, int) and not isinstance(value, bool):
        return str(value), (Repair.NUMBER_AS_ID,)
    kind = "blank" if isinstance(value, str) and not value.strip() else f"not text: {value!r}"
    raise RejectedError(Reason.BAD_ID, f"its {field!r} is {kind}")


def source_of(record: dict[str, Any], images: tuple[str, ...], rules: SourceConfig) -> str:
    """The sample's source; `UNKNOWN_SOURCE` where the record does not say.

    Raises:
      RejectedError: BAD_SOURCE, the field is there and is no text.
    """
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
    """64 bits that are equal for records with equal picture and conversation, however they are written."""
    if isinstance(record, dict):
        record = [record.get("image"), record.get("video"), record.get("conversations")]
    canonical = json.dumps(record, sort_keys=True, separators=(",", ":"))
    return int.from_bytes(hashlib.blake2b(canonical.encode("ascii"), digest_size=8).digest())


def is_unicode(text: str) -> bool:
    """Whether the text can be written as UTF-8, i.e. holds no lone surrogate."""
    if text.isascii():
        return True
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True
