"""What each thing that a server can do leads to. This table is the only place where that is decided.

    reason            what happened                                          what follows
    ----------------  -----------------------------------------------------  ------------------------------------------
    ok                an answer that fits the rubric                         counted
    rate_limited      429; `Retry-After` in seconds, ms or minutes, a date   retry: everybody waits, no attempt counted
    server_error      5xx, 408, 409, or a 200 that is no chat completion     retry after a pause, in the end skip
    connection        the connection is refused or dropped                   retry after a pause, in the end skip
    timeout           no whole answer in time                                retry after a pause, in the end skip
    expired           the batch ended before the request's turn              retry in the next batch
    no_schema         400, 422 about `response_format`                       retry as plain JSON, later ones likewise
    invalid           not JSON, a field missing, a value out of range        retry once as a repair, then skip
    length            the answer was cut off at the limit                    retry once with twice the room, then skip
    refusal           the model declines                                     skip
    content_filter    a filter of the provider, on request or answer         skip
    too_large         413, or more than the model's context                  skip
    bad_request       400, 422 that is about this sample                     skip
    too_long          a conversation longer than `max_chars`                 skip: nothing is sent
    unreadable_image  a picture that cannot be decoded                       skip: nothing is sent
    bad_setting       400, 422 that is about a setting of the request        stop
    bad_key           401, 403                                               stop
    wrong_model       404                                                    stop
    quota             402, or 429 for an account without credit              stop
    long_wait         429 that asks for more than `max_wait_s`               stop
    redirect          3xx: the data would go to another address              stop
    no_answers        many requests in a row failed, or none was answered    stop
    batch_failed      the server refuses a whole batch                       stop
    cap_usd           the cap on money is reached                            stop
    cap_requests      the cap on requests is reached                         stop
    interrupted       Ctrl-C or SIGTERM                                      stop

"Skip" gives the sample up, with the reason in the ledger and in rejects.jsonl. "Stop" waits for the requests in
flight, keeps their answers and ends the run with one line; the same command goes on from there. Skips that are the
server's fault (`TRANSIENT`) are asked for again by the next run.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from typing import Any

from mmssr_jax.judge.api.rate_limit import retry_after
from mmssr_jax.judge.ledger import OutcomeName as Action
from mmssr_jax.judge.parse_answer import parse_answer
from mmssr_jax.judge.rubric import Rubric

TRANSIENT = ("server_error", "connection", "timeout", "expired")

_NO_CREDIT = ("insufficient_quota", "billing_hard_limit_reached", "billing_not_active")
_FILTERED = ("content_filter", "content_policy_violation", "moderation_blocked")
_TOO_LARGE = ("context_length_exceeded", "string_above_max_length", "request_too_large")
_ABOUT_SAMPLE = ("messages", "input", "image", "content")
_QUOTED = 300


@dataclasses.dataclass(frozen=True)
class ServerOutcome:
    """What one request came to.

    Attributes:
      action: "ok", "retry", "skip" or "stop".
      reason: a row of the table.
      detail: the server's words or the parser's, in one line.
      wait: seconds to wait before anybody asks again, where the server says so.
      raw: the answer's text, where there is one.
    """

    action: Action
    reason: str = "ok"
    detail: str = ""
    wait: float | None = None
    raw: str | None = None


@dataclasses.dataclass(frozen=True)
class RetryAdjustments:
    """What an answer that did not fit changes in the next request.

    Attributes:
      repair: the answer and what was wrong with it.
      room: the factor on the answer's tokens.
    """

    repair: tuple[str, str] | None = None
    room: int = 1


def decide(
    outcome: ServerOutcome, follow_up: RetryAdjustments, *, failures: int, max_attempts: int
) -> tuple[ServerOutcome, RetryAdjustments]:
    """Whether a retry is still worth it, and what it changes.

    Args:
      follow_up: what this request had already changed.
      failures: earlier requests for this rating that failed for the server's fault.
      max_attempts: with so many failures the sample is skipped.

    Returns:
      The outcome, its "retry" turned into "skip" where enough was tried, and the next request's changes.
    """
    if outcome.action != "retry":
        return outcome, follow_up
    given_up = dataclasses.replace(outcome, action="skip")
    if outcome.reason == "invalid":
        repaired = dataclasses.replace(follow_up, repair=(outcome.raw or "", outcome.detail))
        return (given_up, follow_up) if follow_up.repair else (outcome, repaired)
    if outcome.reason == "length":
        return (given_up, follow_up) if follow_up.room > 1 else (outcome, dataclasses.replace(follow_up, room=2))
    if outcome.reason in TRANSIENT and failures + 1 >= max_attempts:
        return given_up, follow_up
    return outcome, follow_up


class RunStoppedError(Exception):
    """The run cannot go on.

    Attributes:
      reason: a row of the table.
    """

    def __init__(self, reason: str, line: str):
        super().__init__(line)
        self.reason = reason


class SampleError(Exception):
    """A sample that cannot be sent; `reason` is a row of the table."""

    def __init__(self, reason: str, detail: str):
        super().__init__(detail)
        self.reason = reason


def one_line(text: object) -> str:
    """A server's words, fit for one line of a log."""
    return " ".join(str(text).split())[:_QUOTED]


def of_status(status: int, body: Any, headers: Mapping[str, str], *, max_wait_s: float) -> ServerOutcome:
    """The outcome of an HTTP status other than 2xx.

    Args:
      body: the decoded JSON, or text.
      headers: with lower-case names.
      max_wait_s: the longest wait that is worth it.
    """
    error = body.get("error", body) if isinstance(body, dict) else {"message": body}
    if not isinstance(error, dict):
        error = {"message": error}
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
        return _of_bad_request(param, detail)
    if 300 <= status < 400:
        return ServerOutcome(
            "stop", "redirect", f"it redirects to {one_line(headers.get('location', 'another address'))}"
        )
    return ServerOutcome("retry", "server_error", detail, retry_after(headers))


def _of_bad_request(param: str, detail: str) -> ServerOutcome:
    words = detail.lower()
    if param.startswith("response_format") or "response_format" in words or "json_schema" in words:
        return ServerOutcome("retry", "no_schema", detail)
    if "maximum context length" in words or "context window" in words:
        return ServerOutcome("skip", "too_large", detail)
    if param and not param.startswith(_ABOUT_SAMPLE):
        return ServerOutcome("stop", "bad_setting", f"{param}: {detail}")
    return ServerOutcome("skip", "bad_request", detail)


def of_completion(content: bytes | str | Any, rubric: Rubric) -> tuple[ServerOutcome, dict[str, Any]]:
    """The outcome of a 2xx, and the decoded completion (empty where it is none)."""
    try:
        payload = json.loads(content) if isinstance(content, (bytes, str)) else content
        choice = payload["choices"][0]
        message, finish = choice["message"], choice.get("finish_reason")
        text, refusal = message.get("content"), message.get("refusal")
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return ServerOutcome("retry", "server_error", "the answer is no chat completion"), {}
    if isinstance(text, list):  # some servers answer in parts
        text = "".join(str(p.get("text", "")) for p in text if isinstance(p, dict))
    raw = text if isinstance(text, str) and text else None
    if refusal:
        return ServerOutcome("skip", "refusal", one_line(refusal), raw=raw or str(refusal)), payload
    if finish == "content_filter":
        return ServerOutcome("skip", "content_filter", "the answer was filtered", raw=raw), payload
    try:
        parse_answer(raw or "", rubric)
    except ValueError as e:
        reason = "length" if finish == "length" else "invalid"
        return ServerOutcome("retry", reason, one_line(e), raw=raw), payload
    return ServerOutcome("ok", raw=raw), payload


def of_batch_line(
    line: Mapping[str, Any], rubric: Rubric, *, max_wait_s: float
) -> tuple[ServerOutcome, dict[str, Any]]:
    """The outcome of one line of a batch's result files, and the decoded completion (empty where it is none)."""
    response = line.get("response")
    if not isinstance(response, dict):
        error = line.get("error")
        error = error if isinstance(error, dict) else {}
        reason = "expired" if "expired" in str(error.get("code")) else "server_error"
        return ServerOutcome("retry", reason, one_line(error.get("message") or "no answer")), {}
    if response.get("status_code") == 200:
        return of_completion(response.get("body"), rubric)
    outcome = of_status(int(response.get("status_code") or 500), response.get("body"), {}, max_wait_s=max_wait_s)
    if outcome.reason == "rate_limited":  # the batch came to its end before the service had room for this request
        outcome = dataclasses.replace(outcome, reason="expired")
    return outcome, {}


def stop_line(outcome: ServerOutcome, *, server: str, model: str, key_env: str | None) -> str:
    """The one line that a run ends with: what happened, the server's words, and the mend."""
    mends = {
        "quota": "add credit to the account, then run the same command again",
        "bad_key": f"check the key in the environment variable {key_env}" if key_env else
        "the server wants a key; name its environment variable in config.judge.api.api_key_env",
        "wrong_model": f"check config.judge.api.model ({model!r}) and base_url",
        "bad_setting": "change that field in config.judge.api",
        "long_wait": "run the same command again later, or raise config.judge.api.limits.max_wait_s",
        "redirect": "set config.judge.api.base_url to the final address",
    }  # fmt: skip
    mend = mends.get(outcome.reason, "run the same command again later")
    return f"judge: {server} refused ({outcome.reason}): {outcome.detail}; {mend}"


def usage_of(payload: Mapping[str, Any]) -> dict[str, int]:
    """Token counts of a completion: prompt, completion, and of these cached and reasoning ones where stated."""
    usage = payload.get("usage")
    if not isinstance(usage, dict):
        return {}
    details = usage.get("prompt_tokens_details") or {}
    reasoning = usage.get("completion_tokens_details") or {}
    found = {
        "prompt_tokens": usage.get("prompt_tokens"),
        "completion_tokens": usage.get("completion_tokens"),
        "cached_tokens": details.get("cached_tokens") if isinstance(details, dict) else None,
        "reasoning_tokens": reasoning.get("reasoning_tokens") if isinstance(reasoning, dict) else None,
    }
    return {k: v for k, v in found.items() if isinstance(v, int) and not isinstance(v, bool) and v >= 0}
