"""The media fields of a record: `image` or `images`, `video` or `videos`; audio is not supported."""

from __future__ import annotations

import re
from typing import Any

from mmssr_jax.pool.identity import is_unicode
from mmssr_jax.pool.reasons import Reason, RejectedError

IMAGE_FIELDS = ("image", "images")
VIDEO_FIELDS = ("video", "videos")
AUDIO_FIELDS = ("audio", "audios")
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://|data:")


def image_names(record: dict[str, Any]) -> tuple[str, ...]:
    """The image paths of a record; empty if the fields are absent, null or empty lists.

    Raises:
      RejectedError: BAD_IMAGE_FIELD.
    """
    return _paths(record, IMAGE_FIELDS, Reason.BAD_IMAGE_FIELD)


def video_names(record: dict[str, Any]) -> tuple[str, ...]:
    """The paths of the videos, files or folders of frames.

    Raises:
      RejectedError: BAD_VIDEO_FIELD, also if the record has images too.
    """
    names = _paths(record, VIDEO_FIELDS, Reason.BAD_VIDEO_FIELD)
    if names and any(record.get(field) for field in IMAGE_FIELDS):
        raise RejectedError(Reason.BAD_VIDEO_FIELD, "has both an 'image' and a 'video'; only one of them can be used")
    return names


def check_audio(record: dict[str, Any]) -> None:
    """Rejects a record with audio, rather than use its text alone.

    Raises:
      RejectedError: UNSUPPORTED_MEDIA.
    """
    for field in AUDIO_FIELDS:
        if record.get(field):
            raise RejectedError(Reason.UNSUPPORTED_MEDIA, f"has {field!r}, which is not supported")


def local_path(name: Any, field: str, reason: Reason) -> str:
    """`name` as a path on disk; the prefix `file://` is removed.

    Raises:
      RejectedError: with `reason`; it is not text, blank, or a URL.
    """
    if not isinstance(name, str) or not name.strip() or "\0" in name or not is_unicode(name):
        raise RejectedError(reason, f"its {field!r} holds {short(name)}, which is not a path")
    name = name.removeprefix("file://")
    if _URL.match(name):
        raise RejectedError(reason, f"its {field!r} holds the URL {short(name)}; save the file and give its path")
    return name


def _paths(record: dict[str, Any], fields: tuple[str, ...], reason: Reason) -> tuple[str, ...]:
    paths: dict[str, tuple[str, ...]] = {}
    for field in fields:
        value = record.get(field)
        if value is not None and value != []:
            paths[field] = _field_paths(value, field, reason)
    if len(set(paths.values())) > 1:
        raise RejectedError(reason, f"its {' and '.join(map(repr, paths))} differ; keep one of them")
    return next(iter(paths.values()), ())


def _field_paths(value: Any, field: str, reason: Reason) -> tuple[str, ...]:
    names = [value] if isinstance(value, str) else value
    if not isinstance(names, list) or not all(isinstance(n, str) for n in names):
        raise RejectedError(reason, f"its {field!r} is {short(value)}, expected a path or a list of paths")
    return tuple(local_path(name, field, reason) for name in names)


def short(value: Any) -> str:
    """`value` as an error message shows it: its repr, at most 60 characters."""
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
