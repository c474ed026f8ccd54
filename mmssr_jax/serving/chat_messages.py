"""The messages of a chat completion request as a conversation with its images."""

from __future__ import annotations

import base64
import binascii
import dataclasses
import io
from collections.abc import Sequence
from typing import Annotated, Literal

import pydantic

from mmssr_jax.core.sample import IMAGE_TAG, ImageRef, Sample, Turn
from mmssr_jax.generation.prompting import LITERAL_IMAGE
from mmssr_jax.images.decode import check_header
from mmssr_jax.serving.api_error import ApiError

_DATA_URL = "data:image/"
_VIDEO_URL = "data:video/jpeg;base64"
FIRST_ERROR = pydantic.Field(fail_fast=True)
"""One error a list: a list of a million errors takes seconds."""


class MessagePart(pydantic.BaseModel):
    """What is common to the parts of a request; fields that it does not know are ignored."""

    model_config = pydantic.ConfigDict(extra="ignore")


class TextPart(MessagePart):
    """`{"type": "text", "text": "…"}`."""

    type: Literal["text"]
    text: str


class ImageUrl(MessagePart):
    """`{"url": "data:image/png;base64,…"}`."""

    url: str


class ImagePart(MessagePart):
    """`{"type": "image_url", "image_url": {"url": …}}`."""

    type: Literal["image_url"]
    image_url: ImageUrl


class VideoUrl(MessagePart):
    """`{"url": "data:video/jpeg;base64,FRAME,FRAME,…"}`, the frames in order, each a JPEG or another image."""

    url: str


class VideoPart(MessagePart):
    """`{"type": "video_url", "video_url": {"url": …}}`."""

    type: Literal["video_url"]
    video_url: VideoUrl


Part = Annotated[TextPart | ImagePart | VideoPart, pydantic.Field(discriminator="type")]


class Message(MessagePart):
    """One message; `developer` is a newer name of `system`."""

    role: Literal["system", "developer", "user", "assistant"]
    content: str | Annotated[list[Part], FIRST_ERROR] | None = None


def num_images(messages: Sequence[Message]) -> int:
    """The number of images and of frames of videos, which is known without decoding any."""
    parts = [part for message in messages if isinstance(message.content, list) for part in message.content]
    frames = sum(part.video_url.url.count(",") for part in parts if isinstance(part, VideoPart))  # one before each
    return frames + sum(isinstance(part, ImagePart) for part in parts)


def conversation(messages: Sequence[Message], max_pixels: int) -> tuple[Sample, str | None]:
    """The turns with their images, and the system message.

    Consecutive messages of one role are turns of their own, as in transformers' chat templates.

    Args:
      messages: in order; the first after the system's and the last are the user's.
      max_pixels: images with more pixels are refused.

    Raises:
      ApiError: 400 for a message in the wrong place, or an image that cannot be read.
    """
    system: list[str] = []
    turns: list[Turn] = []
    images: list[ImageRef] = []
    for n, message in enumerate(messages):
        where = f"messages.{n}"
        if message.role in ("system", "developer"):
            if turns:
                raise ApiError(400, f"{where}: a system message must come before the others", param=where)
            system.append(_text_only(message, where))
            continue
        role: Literal["user", "assistant"] = "user" if message.role == "user" else "assistant"
        if not turns and role != "user":
            raise ApiError(400, f"{where}: the first message must be the user's", param=where)
        if role == "assistant":
            turns.append(Turn(role, _text_only(message, where)))
            continue
        text, message_images = _user(message, where, max_pixels)
        images += message_images
        turns.append(Turn(role, text))
    if not turns or turns[-1].role != "user":
        raise ApiError(400, "messages: the last one must be the user's", param="messages")
    return Sample("request", "request", tuple(turns), tuple(images)), "\n".join(system) if system else None


def _text_only(message: Message, where: str) -> str:
    if not isinstance(message.content, list):
        return _plain(message.content or "")
    if any(isinstance(part, (ImagePart, VideoPart)) for part in message.content):
        raise ApiError(400, f"{where}: only the user's messages may hold images", param=f"{where}.content")
    return "\n".join(_plain(part.text) for part in message.content if isinstance(part, TextPart))


def _user(message: Message, where: str, max_pixels: int) -> tuple[str, list[ImageRef]]:
    """Text with one tag per image, each part on its own line, which is the format of the training data."""
    if not isinstance(message.content, list):
        return _plain(message.content or ""), []
    parts, images = [], []
    for n, part in enumerate(message.content):
        if isinstance(part, TextPart):
            parts.append(_plain(part.text))
        elif isinstance(part, VideoPart):
            frames = _frames(part.video_url.url, f"{where}.content.{n}.video_url", max_pixels)
            images += frames
            parts.append(IMAGE_TAG * len(frames))
        else:
            images.append(_image(part.image_url.url, f"{where}.content.{n}.image_url", max_pixels))
            parts.append(IMAGE_TAG)
    return "\n".join(parts), images


def _frames(url: str, where: str, max_pixels: int) -> list[ImageRef]:
    """The frames of a video; errors as in `_image`."""
    head, comma, data = url.partition(",")
    if not comma or head != _VIDEO_URL:
        raise ApiError(
            400, f"{where}: send the frames of the video, {_VIDEO_URL},FRAME,FRAME,…, each an image in base64",
            param=where, code="invalid_image_url",
        )  # fmt: skip
    frames = [_image(f"{_DATA_URL}jpeg;base64,{frame}", where, max_pixels) for frame in data.split(",")]
    return [dataclasses.replace(frame, clip=(where, n)) for n, frame in enumerate(frames)]


def _plain(text: str) -> str:
    """Text in which `<image>` is not a tag."""
    return text.replace(IMAGE_TAG, LITERAL_IMAGE)


def _image(url: str, where: str, max_pixels: int) -> ImageRef:
    """The image of a data URL, with its header checked.

    Raises:
      ApiError: another kind of URL (no URL is ever fetched), invalid base64, or an unreadable image.
    """
    if not url.startswith("data:"):
        raise ApiError(
            400, f"{where}: this server fetches no URLs; send the image itself as data:image/png;base64,…",
            param=where, code="invalid_image_url",
        )  # fmt: skip
    head, comma, data = url.partition(",")
    if not comma or not head.startswith(_DATA_URL) or not head.endswith(";base64"):
        raise ApiError(400, f"{where}: expected data:image/<type>;base64,…", param=where, code="invalid_image_url")
    try:
        decoded = base64.b64decode(data, validate=True)
        check_header(io.BytesIO(decoded), max_pixels=max_pixels)
    except binascii.Error as e:
        raise ApiError(400, f"{where}: not base64 ({e})", param=where, code="invalid_image_url") from None
    except ValueError as e:
        raise ApiError(400, f"{where}: {e}", param=where, code="image_parse_error") from None
    return ImageRef(data=decoded)
