"""A LLaVA record's conversation, checked or mended: turns alternate, say something, and tags match the images."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from mmssr_jax.core.sample import IMAGE_TAG, Role, Turn
from mmssr_jax.pool.identity import is_unicode
from mmssr_jax.pool.reasons import Reason, RejectedError, Repair

_ROLES: dict[str, Role] = {"human": "user", "user": "user", "gpt": "assistant", "assistant": "assistant"}


@dataclasses.dataclass(frozen=True, slots=True)
class Conversation:
    """What a record says, in the form of a `Sample`.

    Attributes:
      turns: user and assistant in turn, from user to assistant.
      images: names relative to the images folder, one a tag.
      mends: what was changed, each once.
      videos: names, likewise; a record has images or videos.
    """

    turns: tuple[Turn, ...]
    images: tuple[str, ...]
    repairs: tuple[Repair, ...] = ()
    videos: tuple[str, ...] = ()


def parse_conversation(record: dict[str, Any], *, repair: bool) -> Conversation:
    """Reads `image` or `video`, and `conversations` (`from`/`value` or `role`/`content`) of a record.

    Args:
      record: a LLaVA record.
      mend: change what LLaVA-NeXT's loader (train.py, preprocess_qwen and preprocess_multimodal) lets pass: drop a
        leading turn that is not the user's, move a turn's only tag to its front; and what it trains on wrongly:
        drop a last question without an answer, add the tags of pictures that no turn mentions, drop the tags
        where there is no picture.

    Raises:
      RejectedError: the record breaks the format (and, with `mend`, none of these helps).
    """
    images, videos = image_names(record), video_names(record)
    n_media = len(images) + len(videos)
    turns = _turns(record)
    repairs: list[Repair] = []
    if repair:
        turns = _repair_order(turns, repairs)
    _check_order(turns)
    if repair:
        turns = _repair_tags(turns, n_media, repairs)
    _check_text(turns)
    tags = sum(t.text.count(IMAGE_TAG) for t in turns)
    if tags != n_media:
        kind = "videos" if videos else "images"
        raise RejectedError(Reason.IMAGE_TAG_MISMATCH, f"{tags} {IMAGE_TAG} tags, {n_media} {kind}")
    return Conversation(tuple(turns), images, tuple(repairs), videos)


def image_names(record: dict[str, Any]) -> tuple[str, ...]:
    """The pictures' names; none where the field is absent, null or an empty list.

    Raises:
      RejectedError: BAD_IMAGE_FIELD.
    """
    return _paths(record, "image", Reason.BAD_IMAGE_FIELD)


def video_names(record: dict[str, Any]) -> tuple[str, ...]:
    """The names of the video files, or folders of frames, likewise.

    Raises:
      RejectedError: BAD_VIDEO_FIELD, also where there are images beside.
    """
    names = _paths(record, "video", Reason.BAD_VIDEO_FIELD)
    if names and record.get("image"):
        raise RejectedError(Reason.BAD_VIDEO_FIELD, "has an 'image' beside its 'video'; its tags could mean either")
    return names


def _paths(record: dict[str, Any], field: str, reason: Reason) -> tuple[str, ...]:
    value = record.get(field)
    if value is None:
        return ()
    names = [value] if isinstance(value, str) else value
    if not isinstance(names, list) or not all(isinstance(n, str) for n in names):
        raise RejectedError(reason, f"its {field!r} is {_short(value)}, expected a path or a list of paths")
    for name in names:
        if not name.strip() or "\0" in name or not is_unicode(name):
            raise RejectedError(reason, f"its {field!r} holds {_short(name)}, which is no path")
    return tuple(names)


def _turns(record: dict[str, Any]) -> list[Turn]:
    messages = record.get("conversations")
    if not isinstance(messages, list) or not messages:
        raise RejectedError(
            Reason.NO_CONVERSATION, f"its 'conversations' is {_short(messages)}, expected a list of turns"
        )
    return [_turn(message, number) for number, message in enumerate(messages, 1)]


def _turn(message: Any, number: int) -> Turn:
    if not isinstance(message, dict):
        raise RejectedError(Reason.BAD_TURN, f"turn {number} is {_short(message)}, expected an object")
    role = message.get("from", message.get("role"))
    if not isinstance(role, str):
        raise RejectedError(Reason.BAD_TURN, f"turn {number} has no 'from'")
    if role not in _ROLES:
        raise RejectedError(Reason.UNKNOWN_ROLE, f"turn {number} is from {_short(role)}; known are {', '.join(_ROLES)}")
    text = message.get("value", message.get("content"))
    if not isinstance(text, str):
        raise RejectedError(Reason.NOT_A_STRING, f"the text of turn {number} is {_short(text)}")
    if not is_unicode(text):
        raise RejectedError(Reason.SURROGATE, f"turn {number} holds a lone surrogate, which UTF-8 cannot write")
    return Turn(_ROLES[role], text)


def _repair_order(turns: list[Turn], repairs: list[Repair]) -> list[Turn]:
    if turns[0].role == "assistant" and len(turns) > 1:
        turns = turns[1:]
        repairs.append(Repair.DROPPED_LEADING_TURN)
    if turns[-1].role == "user" and len(turns) > 1:
        turns = turns[:-1]
        repairs.append(Repair.DROPPED_UNANSWERED_TURN)
    return turns


def _check_order(turns: Sequence[Turn]) -> None:
    for number, turn in enumerate(turns, 1):
        expected = "user" if number % 2 else "assistant"
        if turn.role != expected:
            raise RejectedError(Reason.ROLE_ORDER, f"turn {number} is the {turn.role}'s, expected the {expected}'s")
    if turns[-1].role == "user":
        raise RejectedError(Reason.UNANSWERED, f"turn {len(turns)}, the last, has no answer")


def _repair_tags(turns: list[Turn], n_images: int, repairs: list[Repair]) -> list[Turn]:
    tags = sum(t.text.count(IMAGE_TAG) for t in turns)
    if tags and not n_images:
        repairs.append(Repair.DROPPED_IMAGE_TAG)
        return [Turn(t.role, t.text.replace(IMAGE_TAG, "").strip() if IMAGE_TAG in t.text else t.text) for t in turns]
    if n_images and not tags:
        repairs.append(Repair.ADDED_IMAGE_TAG)
        return [Turn("user", f"{IMAGE_TAG}\n" * n_images + turns[0].text), *turns[1:]]
    moved = [_tag_to_front(t) for t in turns]
    if moved != turns:
        repairs.append(Repair.MOVED_IMAGE_TAG)
    return moved


def _tag_to_front(turn: Turn) -> Turn:
    if turn.text.count(IMAGE_TAG) != 1 or turn.text.startswith(IMAGE_TAG):
        return turn
    return Turn(turn.role, f"{IMAGE_TAG}\n{turn.text.replace(IMAGE_TAG, '').strip()}".strip())


def _check_text(turns: Sequence[Turn]) -> None:
    for number, turn in enumerate(turns, 1):
        if turn.text.replace(IMAGE_TAG, "").strip():
            continue
        if turn.role == "assistant":
            raise RejectedError(Reason.EMPTY_ANSWER, f"turn {number} answers nothing")
        raise RejectedError(Reason.EMPTY_QUESTION, f"turn {number} asks nothing")


def _short(value: Any) -> str:
    """`value` as an error line shows it."""
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
