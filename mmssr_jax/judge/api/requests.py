"""What live and batch judges share: the request for a sample, what it may cost, the ledger's line."""

from __future__ import annotations

import dataclasses
import json
import threading
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from mmssr_jax.core.sample import Sample
from mmssr_jax.judge.api.config import ApiConfig
from mmssr_jax.judge.api.image_payload import encode_image, read_size, sent_size
from mmssr_jax.judge.api.prices import cost
from mmssr_jax.judge.api.retry import RetryAdjustments, SampleError, ServerOutcome, usage_of
from mmssr_jax.judge.api.token_estimates import MESSAGE_TOKENS, image_tokens, text_tokens
from mmssr_jax.judge.base import Estimate, Lookup, Request
from mmssr_jax.judge.ledger import LedgerEntry, now
from mmssr_jax.judge.prompts import answer_schema, messages, prompt_hash, repair_message, system_prompt
from mmssr_jax.judge.rubric import Rubric

Mode = Literal["json_schema", "json_object", "text"]
MODES: tuple[Mode, ...] = ("json_schema", "json_object", "text")

# The text estimate of a whole request is within 7 % on every one of 2,650 real samples; reservations allow for more.
_TEXT_MARGIN = 1.25
_ESTIMATED_FROM = 500


@dataclasses.dataclass(frozen=True)
class Prepared:
    """A request, ready to be sent.

    Attributes:
      messages: of the chat.
      tokens: expected tokens of the prompt.
      images: pictures in it.
    """

    messages: list[dict[str, Any]]
    tokens: int
    images: int


class Requests:
    """Builds requests for samples and counts what they take; used by many threads."""

    def __init__(self, config: ApiConfig, rubric: Rubric, lookup: Lookup):
        self.config, self.rubric = config, rubric
        self.name = config.name or config.model
        self.prompt_hash = prompt_hash(
            rubric, config.prompt, {**config.decoding(), "max_answer_tokens": config.max_answer_tokens}
        )
        self._lookup = lookup
        self._reading = threading.Lock()
        self._schema = answer_schema(rubric, rationale=config.prompt.rationale)
        self._fixed = 3 * MESSAGE_TOKENS + text_tokens(system_prompt(rubric, rationale=config.prompt.rationale))
        self._fixed += text_tokens(json.dumps(self._schema))
        self.answer_tokens = 8 * len(rubric.slugs) + 20 + (60 if config.prompt.rationale else 0)

    def first_mode(self) -> Mode:
        """How the answer's form is asked for at first."""
        return "json_schema" if self.config.structured == "auto" else self.config.structured

    def next_mode(self, mode: Mode) -> Mode | None:
        """What to fall back to where the server does not know `mode`; None where there is nothing left."""
        if self.config.structured != "auto" or mode == MODES[-1]:
            return None
        return MODES[MODES.index(mode) + 1]

    def prepare(self, sample_id: str) -> Prepared:
        """The request for a sample.

        Raises:
          SampleError: it is too long, or a picture cannot be read.
        """
        sample = self._sample(sample_id)
        pictures = []
        try:
            for ref in sample.images[: self.config.prompt.max_images]:
                pictures.append(encode_image(ref.read(), self.config.prompt))
        except (OSError, ValueError) as e:
            raise SampleError("unreadable_image", str(e)) from None
        built = messages(sample, [p.url for p in pictures], self.rubric, self.config.prompt)
        tokens = self._text_tokens(sample) + sum(self._image_tokens(p.width, p.height) for p in pictures)
        return Prepared(built, tokens, len(pictures))

    def _sample(self, sample_id: str) -> Sample:
        with self._reading:
            sample = self._lookup(sample_id)
        length = sum(len(t.text) for t in sample.turns)
        if length > self.config.prompt.max_chars:
            raise SampleError("too_long", f"{length} characters, at most {self.config.prompt.max_chars} are sent")
        return sample

    def _image_tokens(self, width: int, height: int) -> int:
        return image_tokens(self.config.model, width, height, self.config.prompt.detail)

    def _text_tokens(self, sample: Sample) -> int:
        # The fence, and the braces, quotes and role names of a turn's JSON, take about 16 tokens a turn.
        return self._fixed + sum(16 + text_tokens(t.text) for t in sample.turns)

    def body(self, prepared: Prepared, mode: Mode, follow_up: RetryAdjustments, *, repeat: int = 0) -> dict[str, Any]:
        """The fields of a chat completion request."""
        extra = [repair_message(*follow_up.repair)] if follow_up.repair else []
        body = {
            "model": self.config.model,
            "messages": [*prepared.messages, *extra],
            self.config.answer_field: self.config.max_answer_tokens * follow_up.room,
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

    def most_usd(self, prepared: Prepared, follow_up: RetryAdjustments, *, batch: bool = False) -> float:
        """What a request can cost at most: its tokens with a margin, and an answer of full length."""
        extra = text_tokens(follow_up.repair[0]) + 100 if follow_up.repair else 0
        usage = {
            "prompt_tokens": int((prepared.tokens + extra) * _TEXT_MARGIN),
            "completion_tokens": self.config.max_answer_tokens * follow_up.room,
        }
        return cost(usage, self.config.price, batch=batch)

    def estimate(self, requests: Sequence[Request], *, batch: bool = False) -> Estimate:
        """What requests will take, from an even selection of at most 500 of them."""
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
        answer = self.answer_tokens * len(requests)
        usage = {"prompt_tokens": round((text + image) * scale), "completion_tokens": answer}
        usd = None if self.config.price is None else cost(usage, self.config.price, batch=batch)
        date = self.config.prices_date
        return Estimate(len(requests), round(image * scale), round(text * scale), answer, usd, date)

    def entry(
        self,
        request: Request,
        outcome: ServerOutcome,
        payload: Mapping[str, Any],
        *,
        attempt: int,
        mode: Mode | str = "",
        most_usd: float = 0.0,
        answered: bool = False,
        request_id: str | None = None,
        latency_s: float = 0.0,
        batch: bool = False,
    ) -> LedgerEntry:
        """The ledger's line for one request.

        Args:
          payload: the completion, or empty where none came.
          most_usd: what it may have cost, which counts where the server may have worked without stating usage.
          answered: the server answered with an error, which costs nothing.
        """  # fmt: skip
        usage = usage_of(payload)
        unknown = not usage and not answered
        return LedgerEntry(
            id=request.id, judge=self.name, prompt_hash=self.prompt_hash, repeat=request.repeat, attempt=attempt,
            outcome=outcome.action, reason="" if outcome.reason == "ok" else outcome.reason,
            raw=outcome.raw, detail=outcome.detail, usage=usage,
            cost=most_usd if unknown else cost(usage, self.config.price, batch=batch),
            cost_estimated=unknown and most_usd > 0,
            model=str(payload.get("model") or self.config.model),
            system_fingerprint=_text(payload, "system_fingerprint"), request_id=request_id,
            mode=mode, latency_s=round(latency_s, 3), time=now(),
        )  # fmt: skip


def _text(payload: Mapping[str, Any], name: str) -> str | None:
    value = payload.get(name)
    return None if value is None else str(value)
