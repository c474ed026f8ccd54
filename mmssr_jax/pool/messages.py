"""The messages of a record: `conversations` or `messages`, whose content is text or a list of typed parts.

{"from": "human", "value": "<image>\nWhat?"}                                             LLaVA, ShareGPT
{"role": "user", "content": "<image>\nWhat?"}                                            LLaMA-Factory
{"role": "user", "content": [{"type": "image", "image": "a.jpg"}, {"type": "text", "text": "What?"}]}
{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "a.jpg"}}, ...]}  OpenAI
{"role": "assistant", "tool_calls": [...]}, {"role": "tool", "content": "18"}            OpenAI; see `pool.tools`
"""

from __future__ import annotations

import itertools
import re
from typing import Any, Literal, NamedTuple

from mmssr_jax.core.sample import IMAGE_TAG
from mmssr_jax.pool import tools
from mmssr_jax.pool.identity import is_unicode
from mmssr_jax.pool.media import local_path, short
from mmssr_jax.pool.reasons import Reason, RejectedError

VIDEO_TAG = "<video>"
AUDIO_TAG = "<audio>"

_Role = Literal["system", "user", "assistant"]
_TOOL = "tool"
_ROLES: dict[str, _Role] = {
    "human": "user", "user": "user", "gpt": "assistant", "assistant": "assistant", "system": "system", _TOOL: "user",
}  # fmt: skip
_MEDIUM = re.compile(f"{IMAGE_TAG}|{VIDEO_TAG}")
# Types of parts -> (tag, reason of a bad path).
_MEDIA = {
    "image": (IMAGE_TAG, Reason.BAD_IMAGE_FIELD),
    "image_url": (IMAGE_TAG, Reason.BAD_IMAGE_FIELD),
    "input_image": (IMAGE_TAG, Reason.BAD_IMAGE_FIELD),
    "video": (VIDEO_TAG, Reason.BAD_VIDEO_FIELD),
    "video_url": (VIDEO_TAG, Reason.BAD_VIDEO_FIELD),
}
_TEXT = ("text", "input_text", "output_text")
_PATH_KEYS = ("path", "url")


class RecordMessage(NamedTuple):
    """One message.

    Attributes:
      role: system, user or assistant.
      text: with an `<image>` or `<video>` tag for each medium.
      media: for each tag of the text, the tag and the path in its part; the path is None for a tag that refers to the
        record's media field.
    """

    role: _Role
    text: str
    media: tuple[tuple[str, str | None], ...]


def read_messages(record: dict[str, Any]) -> list[RecordMessage]:
    """The messages of a record; `conversations` has precedence over `messages`.

    Raises:
      RejectedError: there are none, or one is malformed.
    """
    field = "messages" if record.get("conversations") is None and "messages" in record else "conversations"
    messages = record.get(field)
    if not isinstance(messages, list) or not messages:
        raise RejectedError(Reason.NO_CONVERSATION, f"its {field!r} is {short(messages)}, expected a list of turns")
    read: list[RecordMessage] = []
    for is_tool, group in itertools.groupby(enumerate(messages, 1), key=lambda item: _role(item[1]) == _TOOL):
        own = [_message(message, number) for number, message in group]
        media = tuple(medium for message in own for medium in message.media)
        read += [RecordMessage("user", tools.responses([m.text for m in own]), media)] if is_tool else own
    if record.get("tools"):
        own_system = read.pop(0) if read[0].role == "system" else RecordMessage("system", "", ())
        text = _text(tools.offered(own_system.text, record["tools"]), 1)
        read = [own_system._replace(text=text), *read] if text else read
    return read


def _role(message: Any) -> Any:
    if not isinstance(message, dict):
        return None
    return message["from"] if message.get("from") is not None else message.get("role")


def _message(message: Any, number: int) -> RecordMessage:
    if not isinstance(message, dict):
        raise RejectedError(Reason.BAD_TURN, f"turn {number} is {short(message)}, expected an object")
    role = _role(message)
    if not isinstance(role, str):
        raise RejectedError(Reason.BAD_TURN, f"turn {number} has no 'from'")
    if role not in _ROLES:
        raise RejectedError(Reason.UNKNOWN_ROLE, f"turn {number} is from {short(role)}; known are {', '.join(_ROLES)}")
    content = message["value"] if message.get("value") is not None else message.get("content")
    calls = message.get("tool_calls")
    if content is None and calls:
        content = ""
    if isinstance(content, list):
        parts = [_part(part, number) for part in content]
        text, media = "\n".join(text for text, _ in parts), tuple(medium for _, own in parts for medium in own)
    else:
        text = _text(content, number)
        media = _tags(text)
    if calls and _ROLES[role] == "assistant":
        text = _text(tools.with_calls(text, calls, number), number)
    return RecordMessage(_ROLES[role], text, media)


def _tags(text: str) -> tuple[tuple[str, None], ...]:
    return tuple((tag, None) for tag in _MEDIUM.findall(text)) if "<" in text else ()


def _text(text: Any, number: int) -> str:
    if not isinstance(text, str):
        raise RejectedError(Reason.NOT_A_STRING, f"the text of turn {number} is {short(text)}")
    if not is_unicode(text):
        raise RejectedError(Reason.SURROGATE, f"turn {number} holds a lone surrogate, which UTF-8 cannot write")
    return text


def _part(part: Any, number: int) -> tuple[str, tuple[tuple[str, str | None], ...]]:
    """The text and the media of one part of turn `number`."""
    kind = part.get("type") if isinstance(part, dict) else None
    if not isinstance(kind, str):
        raise RejectedError(Reason.BAD_TURN, f"turn {number} has a part without a 'type': {short(part)}")
    if kind in _TEXT:
        text = _text(part.get("text"), number)
        return text, _tags(text)
    if kind not in _MEDIA:
        raise RejectedError(Reason.UNSUPPORTED_MEDIA, f"turn {number} has a part of type {short(kind)}")
    tag, reason = _MEDIA[kind]
    return tag, ((tag, _part_path(part, kind, reason)),)


def _part_path(part: dict[str, Any], kind: str, reason: Reason) -> str | None:
    """The path in a media part, directly or in an object; None if the part has none."""
    value = next((part[key] for key in (kind, "image_url", *_PATH_KEYS) if part.get(key) is not None), None)
    if isinstance(value, dict):
        value = next((value[key] for key in _PATH_KEYS if value.get(key) is not None), value)
    return None if value is None else local_path(value, kind, reason)
