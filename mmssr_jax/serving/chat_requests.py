"""Parses chat completion requests: which fields are supported, which are ignored, which are refused.

Fields that cannot change the answers of this server (`user`, `store`, `metadata`, ...) are ignored; those that would
(`tools`, `response_format`, `n` above 1, `logprobs`, penalties, ...) are refused rather than ignored.
"""

from __future__ import annotations

import base64
import binascii
import dataclasses
import io
import re
from typing import Annotated, Any, Literal

import pydantic

from mmssr_jax.core.sample import IMAGE_TAG, ImageRef, Sample, Turn
from mmssr_jax.generation.prompting import LITERAL_IMAGE
from mmssr_jax.images.decode import check_header
from mmssr_jax.serving.api_error import ApiError

_DATA_URL = "data:image/"
_IMAGE_DATA = re.compile(rb'"data:image[^"\\]*+(?:\\/[^"\\]*+)*+"')
_COUNTED_OF_IMAGE = 256  # bytes of an image's URL that count as text, so that a million short ones are not free
_BYTES_PER_CHAR, _OTHER_BYTES = 8, 2**16  # JSON's longest escape is 6 bytes; roles, names and settings are the rest
_FIRST_ERROR = pydantic.Field(fail_fast=True)  # one error a list: a list of a million errors takes seconds
_MIN_TEMPERATURE = 1e-4  # below it the most likely token is practically certain, and the division would overflow


class _Part(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="ignore")


class TextPart(_Part):
    """`{"type": "text", "text": "…"}`."""

    type: Literal["text"]
    text: str


class ImageUrl(_Part):
    """`{"url": "data:image/png;base64,…"}`."""

    url: str


class ImagePart(_Part):
    """`{"type": "image_url", "image_url": {"url": …}}`."""

    type: Literal["image_url"]
    image_url: ImageUrl


Part = Annotated[TextPart | ImagePart, pydantic.Field(discriminator="type")]


class Message(_Part):
    """One message; `developer` is a newer name of `system`."""

    role: Literal["system", "developer", "user", "assistant"]
    content: str | Annotated[list[Part], _FIRST_ERROR] | None = None


class StreamOptions(_Part):
    """`{"include_usage": true}`: a last chunk with the token counts."""

    include_usage: bool = False


class ChatRequest(pydantic.BaseModel):
    """The body of POST /v1/chat/completions."""

    model_config = pydantic.ConfigDict(extra="allow")

    model: str
    messages: list[Message] = pydantic.Field(min_length=1, fail_fast=True)
    max_tokens: int | None = pydantic.Field(None, ge=1)
    max_completion_tokens: int | None = pydantic.Field(None, ge=1)
    temperature: float | None = pydantic.Field(None, ge=0, le=2, allow_inf_nan=False)
    top_p: float | None = pydantic.Field(None, gt=0, le=1, allow_inf_nan=False)
    seed: int | None = None
    stop: str | Annotated[list[str], _FIRST_ERROR] | None = None
    stream: bool = False
    stream_options: StreamOptions | None = None
    n: int | None = None


_IGNORED = frozenset(
    ("user", "store", "metadata", "service_tier", "safety_identifier", "prompt_cache_key", "parallel_tool_calls")
)
_DEFAULTS: dict[str, tuple[Any, ...]] = {
    "n": (1,), "logprobs": (False,), "top_logprobs": (0,), "frequency_penalty": (0,), "presence_penalty": (0,),
    "logit_bias": ({},), "tools": ([],), "tool_choice": ("none", "auto"), "response_format": ({"type": "text"},),
    "modalities": (["text"],),
}  # fmt: skip


@dataclasses.dataclass(frozen=True)
class GenerationRequest:
    """A valid request.

    Attributes:
      sample: the conversation; its last turn is the user's.
      system: the system message, or None for the chat template's default.
      max_tokens: the maximum length of the answer.
      temperature, top_p, seed: of the sampling; without a seed every request gets a random one.
      stop: texts that end the answer and are not part of it.
      stream, include_usage: whether the answer is streamed, and whether the last chunk has the token counts.
    """

    sample: Sample
    system: str | None
    max_tokens: int
    temperature: float
    top_p: float
    seed: int | None
    stop: tuple[str, ...]
    stream: bool
    include_usage: bool


def read_request(
    body: bytes, *, model: str, max_tokens: int, max_chars: int, max_images: int, max_pixels: int
) -> GenerationRequest:
    """Parses and validates a request's body.

    Args:
      body: JSON.
      model: the name of the served model.
      max_tokens: the maximum length of an answer.
      max_chars: maximum number of characters of the text, which is checked before anything is tokenised.
      max_images, max_pixels: limits on images.

    Raises:
      ApiError: 400 for an invalid or unsupported field, 404 for another model.
    """
    if _text_bytes(body) > _BYTES_PER_CHAR * max_chars + _OTHER_BYTES:  # before parsing, which takes memory and time
        raise _too_long(max_chars)
    request = _parsed(body)
    if request.model != model:
        raise ApiError(
            404, f"the model {request.model!r} does not exist; this server has {model!r}", param="model",
            code="model_not_found",
        )  # fmt: skip
    _refuse_unknown(request)
    if _num_chars(request) > max_chars:
        raise _too_long(max_chars)
    if _num_images(request) > max_images:
        raise ApiError(400, f"more than {max_images} images in one request", param="messages", code="too_many_images")
    sample, system = _conversation(request.messages, max_pixels)
    stop = (request.stop,) if isinstance(request.stop, str) else tuple(request.stop or ())
    if len(stop) > 4 or not all(stop):
        raise ApiError(400, "stop takes up to four texts, none of them empty", param="stop")
    requested = request.max_completion_tokens or request.max_tokens or max_tokens
    options = request.stream_options or StreamOptions()
    temperature = 1.0 if request.temperature is None else request.temperature
    return GenerationRequest(
        sample, system, min(requested, max_tokens), temperature if temperature >= _MIN_TEMPERATURE else 0.0,
        request.top_p or 1.0, request.seed, stop, request.stream, options.include_usage,
    )  # fmt: skip


def _text_bytes(body: bytes) -> int:
    """Size of a body without the data of its images."""
    images = _IMAGE_DATA.finditer(body)
    return len(body) - sum(max(m.end() - m.start() - _COUNTED_OF_IMAGE, 0) for m in images)


def _num_chars(request: ChatRequest) -> int:
    stops = [request.stop] if isinstance(request.stop, str) else request.stop or []
    return sum(map(len, stops)) + sum(
        len(message.content) if isinstance(message.content, str)
        else sum(len(part.text) for part in message.content or () if isinstance(part, TextPart))
        for message in request.messages
    )  # fmt: skip


def _num_images(request: ChatRequest) -> int:
    contents = (m.content for m in request.messages if isinstance(m.content, list))
    return sum(isinstance(part, ImagePart) for content in contents for part in content)


def _too_long(max_chars: int) -> ApiError:
    return ApiError(
        400, f"the text is longer than {max_chars} characters", param="messages", code="context_length_exceeded"
    )  # fmt: skip


def _parsed(body: bytes) -> ChatRequest:
    try:
        return ChatRequest.model_validate_json(body)
    except pydantic.ValidationError as e:
        errors = e.errors(include_url=False, include_input=False, include_context=False)
        # Of the alternatives of a union, the deepest error is about the one that the client used.
        error = max(errors, key=lambda error: len(error["loc"]))
        where = ".".join(str(part) for part in error["loc"] if part != "str" and not str(part).startswith("list["))
        raise ApiError(400, f"{where}: {error['msg']}" if where else error["msg"], param=where or None) from None


def _refuse_unknown(request: ChatRequest) -> None:
    fields = {**(request.model_extra or {}), "n": request.n}
    for name, value in fields.items():
        if value is None or name in _IGNORED or value in _DEFAULTS.get(name, ()):
            continue
        raise ApiError(400, f"{name}: not supported by this server", param=name, code="unsupported_parameter")


def _conversation(messages: list[Message], max_pixels: int) -> tuple[Sample, str | None]:
    """The turns with their images, and the system message."""
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
        if role != ("user", "assistant")[len(turns) % 2]:
            raise ApiError(400, f"{where}: user and assistant must alternate, starting with user", param=where)
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
    if any(isinstance(part, ImagePart) for part in message.content):
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
        else:
            images.append(_image(part.image_url.url, f"{where}.content.{n}.image_url", max_pixels))
            parts.append(IMAGE_TAG)
    return "\n".join(parts), images


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
