"""Checks or repairs a record's conversation: turns alternate and are not empty, and tags match the media."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from mmssr_jax.core.sample import IMAGE_TAG, Turn
from mmssr_jax.pool.media import check_audio, image_names, video_names
from mmssr_jax.pool.messages import AUDIO_TAG, VIDEO_TAG, RecordMessage, read_messages
from mmssr_jax.pool.reasons import Reason, RejectedError, Repair


@dataclasses.dataclass(frozen=True, slots=True)
class Conversation:
    """A record's content in the form of a `Sample`.

    Attributes:
      turns: alternately from user and assistant, the first from the user and the last from the assistant.
      images: paths, one per tag.
      repairs: the changes that were made.
      videos: paths, one per tag; a record has images or videos, not both.
      system: the system prompt, if the record has one.
    """

    turns: tuple[Turn, ...]
    images: tuple[str, ...]
    repairs: tuple[Repair, ...] = ()
    videos: tuple[str, ...] = ()
    system: str | None = None


def parse_conversation(record: dict[str, Any], *, repair: bool) -> Conversation:
    """Parses the media fields and the messages of a record; see `media` and `messages`.

    A leading system message becomes the system prompt. `<video>` is read as the tag of a video, like `<image>`. If a
    list `images` has several paths and the conversation one tag, the tag stands for all of them; this is recorded as
    a repair.

    Args:
      record: a record in LLaVA format, or a variant.
      repair: change what LLaVA-NeXT's loader (train.py, preprocess_qwen and preprocess_multimodal) accepts: drop a
        leading turn that is not the user's, move a turn's only tag to its front; and what that loader gets wrong:
        drop a last question without an answer, add tags for images that no turn mentions, drop tags without an image.

    Raises:
      RejectedError: the record breaks the format (and, with `repair`, none of these changes helps).
    """
    check_audio(record)
    images, videos = image_names(record), video_names(record)
    messages = read_messages(record)
    images, videos = _with_part_paths(messages, images, videos)
    system, turns = _split_system(messages)
    if videos:
        turns = [Turn(t.role, t.text.replace(VIDEO_TAG, IMAGE_TAG)) for t in turns]
    _check_placeholders(turns)
    repairs: list[Repair] = []
    if repair:
        turns = _repair_order(turns, repairs)
    _check_order(turns)
    turns = _expand_single_tag(turns, record, len(images), repairs)
    if repair:
        turns = _repair_tags(turns, len(images) + len(videos), repairs)
    _check_text(turns)
    tags = sum(t.text.count(IMAGE_TAG) for t in turns)
    if tags != len(images) + len(videos):
        raise RejectedError(Reason.IMAGE_TAG_MISMATCH, _mismatch(tags, record, images, videos))
    return Conversation(tuple(turns), images, tuple(repairs), videos, system)


def _with_part_paths(
    messages: Sequence[RecordMessage], images: tuple[str, ...], videos: tuple[str, ...]
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The paths of the media fields merged with those in message parts, in the order of the tags."""
    media = [medium for message in messages for medium in message.media]
    in_parts = {tag for tag, path in media if path is not None}
    if not in_parts:
        return images, videos
    if (images or IMAGE_TAG in in_parts) and (videos or VIDEO_TAG in in_parts):
        raise RejectedError(Reason.BAD_VIDEO_FIELD, "has both an image and a video; only one of them can be used")
    is_video = VIDEO_TAG in in_parts
    field = iter(videos if is_video else images)
    slots = [path for tag, path in media if is_video or tag == IMAGE_TAG]
    names = tuple(path if path is not None else next(field, "") for path in slots)
    if "" in names or next(field, None) is not None:
        detail = f"{slots.count(None)} tags without a path, but {len(images) + len(videos)} paths beside the turns"
        raise RejectedError(Reason.IMAGE_TAG_MISMATCH, detail)
    return ((), names) if is_video else (names, ())


def _split_system(messages: Sequence[RecordMessage]) -> tuple[str | None, list[Turn]]:
    """The leading system message and the other turns."""
    system = None
    if messages[0].role == "system":
        system, messages = messages[0].text, messages[1:]
        if not messages:
            raise RejectedError(Reason.UNKNOWN_ROLE, "turn 1 is from 'system', and no turn follows")
        if IMAGE_TAG in system or VIDEO_TAG in system:
            raise RejectedError(Reason.BAD_TURN, "turn 1, the system prompt, has an image or a video")
    turns = []
    for number, message in enumerate(messages, 2 if system is not None else 1):
        if message.role == "system":
            raise RejectedError(Reason.UNKNOWN_ROLE, f"turn {number} is from 'system'; only the first turn can be")
        turns.append(Turn(message.role, message.text))
    return (system if system and system.strip() else None), turns


def _check_placeholders(turns: Sequence[Turn]) -> None:
    """Rejects a question that begins or ends with the tag of a medium that the record lacks.

    Inside a text the tag is an element of HTML and no placeholder.
    """
    for number, turn in enumerate(turns, 1):
        for tag in (VIDEO_TAG, AUDIO_TAG):
            if turn.role != "user" or tag not in turn.text:
                continue
            text = turn.text.replace(IMAGE_TAG, "").strip()
            if text.startswith(tag) or text.endswith(tag):
                detail = f"turn {number} has a {tag} tag, but the record has no {tag[1:-1]}"
                raise RejectedError(Reason.IMAGE_TAG_MISMATCH, detail)


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


def _expand_single_tag(turns: list[Turn], record: dict[str, Any], n_images: int, repairs: list[Repair]) -> list[Turn]:
    """Repeats the only tag of a conversation for each path of a list `images`."""
    if n_images < 2 or not record.get("images") or sum(t.text.count(IMAGE_TAG) for t in turns) != 1:
        return turns
    repairs.append(Repair.EXPANDED_IMAGE_TAG)
    tags = "\n".join([IMAGE_TAG] * n_images)
    return [Turn(t.role, t.text.replace(IMAGE_TAG, tags)) for t in turns]


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
            raise RejectedError(Reason.EMPTY_ANSWER, f"turn {number}, an answer, is empty")
        raise RejectedError(Reason.EMPTY_QUESTION, f"turn {number}, a question, is empty")


def _mismatch(tags: int, record: dict[str, Any], images: Sequence[str], videos: Sequence[str]) -> str:
    """The detail of a reject whose tags and media differ in number."""
    detail = f"{tags} {IMAGE_TAG} tags, {len(videos) or len(images)} {'videos' if videos else 'images'}"
    fields = [field for field in ("images", "videos") if record.get(field)]
    return detail + (f" in {fields[0]!r}" if fields else "")
