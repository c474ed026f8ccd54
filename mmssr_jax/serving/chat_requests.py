"""Parses chat completion requests: which fields are supported, which are ignored, which are refused.

Fields that cannot change the answers of this server (`user`, `store`, `metadata`, ...) are ignored; those that would
(`tools`, penalties, JSON schemas, ...) are refused rather than ignored, unless their value is neutral (`top_k=-1`).
"""

from __future__ import annotations

import dataclasses
import re
from typing import Annotated, Any, Literal

import pydantic

from mmssr_jax.core.sample import Sample
from mmssr_jax.generation.stream import TOP_LOGPROBS
from mmssr_jax.serving.api_error import ApiError
from mmssr_jax.serving.chat_messages import FIRST_ERROR, Message, MessagePart, TextPart, conversation, num_images

_IMAGE_DATA = re.compile(rb'"data:(?:image|video)[^"\\]*+(?:\\/[^"\\]*+)*+"')
_COUNTED_OF_IMAGE = 256  # bytes of an image's URL that count as text, so that a million short ones are not free
_BYTES_PER_CHAR, _OTHER_BYTES = 8, 2**16  # JSON's longest escape is 6 bytes; roles, names and settings are the rest
_MIN_TEMPERATURE = 1e-4  # below it the most likely token is practically certain, and the division would overflow


class StreamOptions(MessagePart):
    """`{"include_usage": true}`: a last chunk with the token counts."""

    include_usage: bool = False


class AnswerFormat(MessagePart):
    """`{"type": "json_object"}`: the answer is a JSON object."""

    type: Literal["text", "json_object"]


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
    stop: str | Annotated[list[str], FIRST_ERROR] | None = None
    stream: bool = False
    stream_options: StreamOptions | None = None
    n: int | None = pydantic.Field(None, ge=1)
    logprobs: bool | None = None
    top_logprobs: int | None = pydantic.Field(None, ge=0, le=TOP_LOGPROBS)
    response_format: AnswerFormat | None = None


_IGNORED = frozenset(
    ("user", "store", "metadata", "service_tier", "safety_identifier", "prompt_cache_key", "parallel_tool_calls")
)
_DEFAULTS: dict[str, tuple[Any, ...]] = {
    "frequency_penalty": (0,), "presence_penalty": (0,), "logit_bias": ({},), "tools": ([],),
    "tool_choice": ("none", "auto"), "modalities": (["text"],),
    # Of other servers' samplers; the values that switch them off.
    "top_k": (-1, 0), "min_p": (0,), "repetition_penalty": (1,), "length_penalty": (1,), "num_beams": (1,),
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
      choices: number of answers.
      top_logprobs: the number of likeliest tokens that are returned for each token, besides its log-probability; None
        returns no log-probabilities.
      json: whether the answer is a JSON object.
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
    choices: int = 1
    top_logprobs: int | None = None
    json: bool = False


def read_request(
    body: bytes, *, model: str, max_tokens: int, max_chars: int, max_images: int, max_pixels: int, max_choices: int
) -> GenerationRequest:
    """Parses and validates a request's body.

    Args:
      body: JSON.
      model: the name of the served model.
      max_tokens: the maximum length of an answer.
      max_chars: maximum number of characters of the text, which is checked before anything is tokenised.
      max_images, max_pixels: limits on images; each frame of a video is one.
      max_choices: maximum number of answers.

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
    if num_images(request.messages) > max_images:
        raise ApiError(
            400, f"more than {max_images} images or frames of videos in one request", param="messages",
            code="too_many_images",
        )  # fmt: skip
    sample, system = conversation(request.messages, max_pixels)
    stop = (request.stop,) if isinstance(request.stop, str) else tuple(request.stop or ())
    if len(stop) > 4 or not all(stop):
        raise ApiError(400, "stop takes up to four texts, none of them empty", param="stop")
    requested = request.max_completion_tokens or request.max_tokens or max_tokens
    options = request.stream_options or StreamOptions()
    temperature = 1.0 if request.temperature is None else request.temperature
    return GenerationRequest(
        sample, system, min(requested, max_tokens), temperature if temperature >= _MIN_TEMPERATURE else 0.0,
        request.top_p or 1.0, request.seed, stop, request.stream, options.include_usage,
        choices=_choices(request, max_choices), top_logprobs=_top_logprobs(request),
        json=request.response_format is not None and request.response_format.type == "json_object",
    )  # fmt: skip


def _choices(request: ChatRequest, max_choices: int) -> int:
    if (request.n or 1) > max_choices:
        raise ApiError(400, f"n: this server gives up to {max_choices} answers", param="n")
    return request.n or 1


def _top_logprobs(request: ChatRequest) -> int | None:
    if request.top_logprobs and not request.logprobs:
        raise ApiError(400, "top_logprobs: logprobs must be true", param="top_logprobs")
    return request.top_logprobs or 0 if request.logprobs else None


def _text_bytes(body: bytes) -> int:
    """Size of a body without the data of its images and videos."""
    images = _IMAGE_DATA.finditer(body)
    return len(body) - sum(max(m.end() - m.start() - _COUNTED_OF_IMAGE, 0) for m in images)


def _num_chars(request: ChatRequest) -> int:
    stops = [request.stop] if isinstance(request.stop, str) else request.stop or []
    return sum(map(len, stops)) + sum(
        len(message.content) if isinstance(message.content, str)
        else sum(len(part.text) for part in message.content or () if isinstance(part, TextPart))
        for message in request.messages
    )  # fmt: skip


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
    for name, value in (request.model_extra or {}).items():
        if value is None or name in _IGNORED or value in _DEFAULTS.get(name, ()):
            continue
        raise ApiError(400, f"{name}: not supported by this server", param=name, code="unsupported_parameter")
