"""From a server's response to its outcome: assigns the reasons of the table in `retry`."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Mapping
from typing import Any

from mmssr_jax.judge.api.rate_limit import retry_after
from mmssr_jax.judge.api.retry import ServerOutcome, one_line, shorten
from mmssr_jax.judge.parse_answer import parse_answer
from mmssr_jax.judge.rubric import Rubric

_NO_CREDIT = ("insufficient_quota", "billing_hard_limit_reached", "billing_not_active")
_FILTERED = ("content_filter", "content_policy_violation", "moderation_blocked")
_TOO_LARGE = ("context_length_exceeded", "string_above_max_length", "request_too_large")
_SAMPLE_PARAMS = ("messages", "input", "image", "content")
_MAX_RAW_CHARS = 65_536
_TOO_MANY_TOKENS = 10**9

_CONTEXT = re.compile(r"maximum context length|context window|context length")
_FORMAT = re.compile(
    r"response_format|json[_ ]schema|grammar|guided|guidance|outlines|structured output|constrained dec"
)
_SETTING = re.compile(r"\b(max_completion_tokens|max_tokens|temperature|reasoning_effort|service_tier|seed(?=['\"]))\b")
_NO_VISION = re.compile(
    r"not a (multi-?modal|vision)"
    r"|at most 0 (image|multi-?modal)"
    r"|(unknown|unsupported|invalid|unexpected)[^.]{0,30}\btype\b[^.]{0,30}image_url"
    r"|(not|n't|cannot) (support|accept|process|handle|take)[^.]{0,30}(image|vision|multi-?modal)"
    r"|(image|vision|multi-?modal)[^.]{0,30}((not|n't) (be )?(supported|enabled|accepted|allowed)|unsupported)"
)
_ABOUT_ONE_IMAGE = re.compile(
    r"\b(format|formats|file|mime|size|large|small|dimension|dimensions|resolution|animated)\b"
)


def classify_status(status: int, body: Any, headers: Mapping[str, str], *, max_wait_s: float) -> ServerOutcome:
    """The outcome of an HTTP status other than 2xx.

    Args:
      body: the decoded JSON, or text.
      headers: with lower-case names.
      max_wait_s: the longest wait that is accepted.
    """
    return dataclasses.replace(_classify_status(status, body, headers, max_wait_s), free=True)


def _classify_status(status: int, body: Any, headers: Mapping[str, str], max_wait_s: float) -> ServerOutcome:
    error = _error_fields(body)
    code, param = str(error.get("code") or error.get("type") or ""), str(error.get("param") or "")
    detail = one_line(error.get("message") or f"HTTP status {status}")
    if status == 402 or code in _NO_CREDIT or error.get("type") in _NO_CREDIT:
        return ServerOutcome("stop", "quota", detail)
    if status == 429:
        wait = retry_after(headers)
        if wait is not None and wait > max_wait_s:
            return ServerOutcome("stop", "long_wait", f"it asks to wait {wait:.0f} s: {detail}", wait)
        return ServerOutcome("retry", "rate_limited", detail, wait)
    if status == 404 or code == "model_not_found":
        return ServerOutcome("stop", "wrong_model", detail)
    if status in (401, 403):
        return ServerOutcome("stop", "bad_key", detail)
    if status == 413 or code in _TOO_LARGE:
        return ServerOutcome("skip", "too_large", detail)
    if code in _FILTERED:
        return ServerOutcome("skip", "content_filter", detail)
    if status in (400, 422):
        return _classify_bad_request(param, detail)
    if 300 <= status < 400:
        location = one_line(headers.get("location", "another address"))
        return ServerOutcome("stop", "redirect", f"it redirects to {location}")
    return ServerOutcome("retry", "server_error", detail, retry_after(headers))


def _error_fields(body: Any) -> dict[str, Any]:
    """`message`, `code`, `type` and `param` of an error in OpenAI's form, in FastAPI's (`detail`), or as text."""
    error = body.get("error", body) if isinstance(body, dict) else body
    if isinstance(error, dict) and isinstance(error.get("detail"), list):  # of pydantic errors
        first = next((d for d in error["detail"] if isinstance(d, dict)), {})
        location = first.get("loc")
        parts = location if isinstance(location, (list, tuple)) else ()
        param = ".".join(str(p) for p in parts if p != "body")
        return {"param": param, "message": f"{param}: {first.get('msg')}" if first else error["detail"]}
    if isinstance(error, dict) and "message" not in error and "detail" in error:
        return {**error, "message": error["detail"]}
    return error if isinstance(error, dict) else {"message": error}


def _classify_bad_request(param: str, detail: str) -> ServerOutcome:
    text = detail.lower()
    if _NO_VISION.search(text) and not _ABOUT_ONE_IMAGE.search(text):
        return ServerOutcome("stop", "no_vision", detail)
    if param.startswith("response_format"):
        return ServerOutcome("retry", "no_schema", detail)
    if _CONTEXT.search(text):
        return ServerOutcome("skip", "too_large", detail)
    if param.startswith(_SAMPLE_PARAMS):
        return ServerOutcome("skip", "bad_request", detail, about_sample=True)
    if _FORMAT.search(text):
        return ServerOutcome("retry", "no_schema", detail)
    if param:
        return ServerOutcome("stop", "bad_setting", detail if detail.startswith(param) else f"{param}: {detail}")
    if _SETTING.search(text):
        return ServerOutcome("stop", "bad_setting", detail)
    return ServerOutcome("skip", "bad_request", detail)


def classify_completion(
    content: bytes | str | Any, rubric: Rubric, *, headers: Mapping[str, str] | None = None, max_wait_s: float = 900.0
) -> tuple[ServerOutcome, dict[str, Any]]:
    """The outcome of a 2xx, and the decoded completion (empty if it is not one).

    Some servers report errors in a 200, as `{"error": ...}` of the response or of its choice: these are classified by
    the status that the error names, 500 if it names none, and there is no completion.
    """
    try:
        payload = json.loads(content) if isinstance(content, (bytes, str)) else content
        error = payload.get("error") or (payload.get("choices") or [{}])[0].get("error")
        if error:
            code = error.get("code") if isinstance(error, dict) else None
            status = code if isinstance(code, int) and 400 <= code < 600 else 500
            return classify_status(status, {"error": error}, headers or {}, max_wait_s=max_wait_s), {}
        choice = payload["choices"][0]
        message, finish = choice["message"], choice.get("finish_reason")
        text, refusal = message.get("content"), message.get("refusal")
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return ServerOutcome("retry", "server_error", "the answer is not a chat completion"), {}
    if isinstance(text, list):  # some servers answer in parts
        text = "".join(str(p.get("text", "")) for p in text if isinstance(p, dict))
    # What is parsed is what the ledger stores, so that the ledger can be parsed again with the same result.
    raw = shorten(text, _MAX_RAW_CHARS) if isinstance(text, str) and text else None
    if refusal:
        raw = raw or shorten(str(refusal), _MAX_RAW_CHARS)
        return ServerOutcome("skip", "refusal", one_line(refusal), raw=raw), payload
    if finish == "content_filter":
        return ServerOutcome("skip", "content_filter", "the answer was filtered", raw=raw), payload
    try:
        parse_answer(raw or "", rubric)
    except ValueError as e:
        reason = "length" if finish == "length" else "invalid"
        return ServerOutcome("retry", reason, one_line(e), raw=raw), payload
    return ServerOutcome("ok", raw=raw), payload


def classify_batch_line(
    line: Mapping[str, Any], rubric: Rubric, *, max_wait_s: float
) -> tuple[ServerOutcome, dict[str, Any]]:
    """The outcome of one line of a batch's result files, and the decoded completion (empty if it is not one)."""
    response = line.get("response")
    if not isinstance(response, dict):
        error = line.get("error")
        error = error if isinstance(error, dict) else {}
        reason = "expired" if "expired" in str(error.get("code")) else "server_error"
        return ServerOutcome("retry", reason, one_line(error.get("message") or "no answer"), free=True), {}
    status, body = _status(response.get("status_code")), response.get("body")
    if status == 200:
        outcome, payload = classify_completion(body, rubric, max_wait_s=max_wait_s)
    else:
        outcome, payload = classify_status(status, body, {}, max_wait_s=max_wait_s), {}
    if outcome.reason == "rate_limited":  # the batch ended before the service had capacity for this request
        outcome = dataclasses.replace(outcome, reason="expired")
    return (outcome if payload else dataclasses.replace(outcome, free=True)), payload


def _status(value: Any) -> int:
    """An HTTP status as a batch reports it; 500 if it is no number."""
    try:
        return int(value or 500)
    except (ValueError, TypeError, OverflowError):
        return 500


def token_usage(payload: Mapping[str, Any]) -> dict[str, int]:
    """Token counts of a completion: prompt and completion, and the cached and reasoning ones of them if reported.

    Empty, as if none were reported, if one of them is no number of tokens that a completion can have.
    """
    usage = payload.get("usage")
    if not isinstance(usage, dict):
        return {}
    details = usage.get("prompt_tokens_details") or {}
    reasoning = usage.get("completion_tokens_details") or {}
    counts = {
        "prompt_tokens": usage.get("prompt_tokens"),
        "completion_tokens": usage.get("completion_tokens"),
        "cached_tokens": details.get("cached_tokens") if isinstance(details, dict) else None,
        "reasoning_tokens": reasoning.get("reasoning_tokens") if isinstance(reasoning, dict) else None,
    }
    reported = {k: v for k, v in counts.items() if isinstance(v, int) and not isinstance(v, bool)}
    return reported if all(0 <= v < _TOO_MANY_TOKENS for v in reported.values()) else {}
