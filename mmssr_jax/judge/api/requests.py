"""The request for a sample: its fields, its expected size, the most it can cost."""

from __future__ import annotations

import dataclasses
import json
import threading
from collections.abc import Mapping, Sequence
from typing import Any

from mmssr_jax.core.sample import Sample
from mmssr_jax.judge.api.config import ApiConfig
from mmssr_jax.judge.api.image_payload import encode_image, read_size, sent_size
from mmssr_jax.judge.api.prices import cost
from mmssr_jax.judge.api.response_format import Mode
from mmssr_jax.judge.api.responses import token_usage
from mmssr_jax.judge.api.retry import RetryAdjustments, SampleError, ServerOutcome
from mmssr_jax.judge.api.token_estimates import MESSAGE_TOKENS, image_tokens, text_tokens
from mmssr_jax.judge.base import Estimate, Lookup, Request
from mmssr_jax.judge.ledger import LedgerEntry, now
from mmssr_jax.judge.prompts import answer_schema, messages, prompt_hash, repair_message, sample_texts, system_prompt
from mmssr_jax.judge.rubric import Rubric

# The text estimate of a complete request is within 7 % on every one of 2,650 real samples; reservations allow for more.
_TEXT_MARGIN = 1.25
_ESTIMATED_FROM = 500


@dataclasses.dataclass(frozen=True)
class PreparedRequest:
    """A request that is ready to be sent.

    Attributes:
      messages: of the chat.
      tokens: expected prompt tokens.
      images: number of images.
    """

    messages: list[dict[str, Any]]
    tokens: int
    images: int


class RequestBuilder:
    """Builds requests for samples and estimates their size; used by many threads."""

    def __init__(self, config: ApiConfig, rubric: Rubric, lookup: Lookup):
        self.config, self.rubric = config, rubric
        self.name = config.name or config.model
        self.prompt_hash = prompt_hash(
            rubric, config.prompt, {**config.decoding(), "max_answer_tokens": config.max_answer_tokens}
        )
        self._lookup = lookup
        self._reading = threading.Lock()
        self._schema = answer_schema(rubric, rationale=config.prompt.rationale)
        self._fixed_tokens = 3 * MESSAGE_TOKENS + text_tokens(system_prompt(rubric, rationale=config.prompt.rationale))
        self._fixed_tokens += text_tokens(json.dumps(self._schema))
        self._answer_tokens = 8 * len(rubric.slugs) + 20 + (60 if config.prompt.rationale else 0)

    def prepare(self, sample_id: str) -> PreparedRequest:
        """The request for a sample.

        Raises:
          SampleError: it is too long, or an image cannot be read.
        """
        sample = self._sample(sample_id)
        images = []
        try:
            for ref in sample.images[: self.config.prompt.max_images]:
                images.append(encode_image(ref.read(), self.config.prompt))
        except (OSError, ValueError) as e:
            raise SampleError("unreadable_image", str(e)) from None
        chat = messages(sample, [image.url for image in images], self.rubric, self.config.prompt)
        tokens = self._text_tokens(sample) + sum(self._image_tokens(i.width, i.height) for i in images)
        return PreparedRequest(chat, tokens, len(images))

    def _sample(self, sample_id: str) -> Sample:
        with self._reading:
            sample = self._lookup(sample_id)
        length = sum(map(len, sample_texts(sample)))
        if length > self.config.prompt.max_chars:
            raise SampleError("too_long", f"{length} characters, at most {self.config.prompt.max_chars} are sent")
        return sample

    def _image_tokens(self, width: int, height: int) -> int:
        return image_tokens(self.config.model, width, height, self.config.prompt.detail)

    def _text_tokens(self, sample: Sample) -> int:
        # The fence, and the braces, quotes and role names of a turn's JSON, take about 16 tokens per turn.
        return self._fixed_tokens + sum(16 + text_tokens(text) for text in sample_texts(sample))

    def body(
        self, prepared: PreparedRequest, mode: Mode, adjustments: RetryAdjustments, *, repeat: int = 0
    ) -> dict[str, Any]:
        """The fields of a chat completion request."""
        extra = [repair_message(*adjustments.repair)] if adjustments.repair else []
        body = {
            "model": self.config.model,
            "messages": [*prepared.messages, *extra],
            self.config.answer_field: self.config.max_answer_tokens * adjustments.token_factor,
            **self.config.decoding(),
        }
        if self.config.seed is not None:
            body["seed"] = self.config.seed + repeat
        if mode == "json_schema":
            schema = {"name": "judgment", "strict": True, "schema": self._schema}
            body["response_format"] = {"type": "json_schema", "json_schema": schema}
        elif mode == "json_object":
            body["response_format"] = {"type": "json_object"}
        return body

    def max_cost_usd(self, prepared: PreparedRequest, adjustments: RetryAdjustments, *, batch: bool = False) -> float:
        """The most that a request can cost: its prompt tokens with a margin, and an answer of the maximum length."""
        extra = text_tokens(adjustments.repair[0]) + 100 if adjustments.repair else 0
        usage = {
            "prompt_tokens": int((prepared.tokens + extra) * _TEXT_MARGIN),
            "completion_tokens": self.config.max_answer_tokens * adjustments.token_factor,
        }
        return cost(usage, self.config.price, batch=batch)

    def estimate(self, requests: Sequence[Request], *, batch: bool = False) -> Estimate:
        """Size and cost of requests, extrapolated from at most 500 of them at equal distances."""
        step = max(1, len(requests) // _ESTIMATED_FROM)
        chosen = requests[::step]
        text = image = 0
        for request in chosen:
            try:
                sample = self._sample(request.id)
                sizes = [read_size(ref.read()) for ref in sample.images[: self.config.prompt.max_images]]
            except (SampleError, OSError, ValueError):
                continue
            text += self._text_tokens(sample)
            side = self.config.prompt.max_side
            image += sum(self._image_tokens(*sent_size(*size, side)) for size in sizes)
        scale = len(requests) / max(1, len(chosen))
        answer = self._answer_tokens * len(requests)
        usage = {"prompt_tokens": round((text + image) * scale), "completion_tokens": answer}
        return Estimate(
            len(requests), round(image * scale), round(text * scale), answer,
            usd=None if self.config.price is None else cost(usage, self.config.price, batch=batch),
            prices_date=self.config.prices_date,
            max_usd=self.config.limits.max_usd,
        )  # fmt: skip

    def ledger_entry(
        self,
        request: Request,
        outcome: ServerOutcome,
        payload: Mapping[str, Any],
        *,
        attempt: int,
        mode: Mode | str = "",
        max_cost_usd: float = 0.0,
        request_id: str | None = None,
        latency_s: float = 0.0,
        batch: bool = False,
    ) -> LedgerEntry:
        """The ledger's line for one request.

        Args:
          payload: the completion, or empty without one.
          max_cost_usd: the most it can have cost, which counts if the server may have worked but reported no usage.
        """
        usage = token_usage(payload)
        unknown = not usage and not outcome.free
        return LedgerEntry(
            id=request.id, judge=self.name, prompt_hash=self.prompt_hash, repeat=request.repeat, attempt=attempt,
            outcome=outcome.action, reason="" if outcome.reason == "ok" else outcome.reason,
            raw=outcome.raw, detail=outcome.detail, usage=usage,
            cost=max_cost_usd if unknown else cost(usage, self.config.price, batch=batch),
            cost_estimated=unknown and max_cost_usd > 0,
            model=str(payload.get("model") or self.config.model),
            system_fingerprint=_text(payload, "system_fingerprint"), request_id=request_id,
            mode=mode, latency_s=round(latency_s, 3), time=now(),
        )  # fmt: skip


def _text(payload: Mapping[str, Any], name: str) -> str | None:
    value = payload.get(name)
    return None if value is None else str(value)
