"""The retry policy. This table is the only place that says what follows from each outcome of a request.

    reason            what happened                                          what follows
    ----------------  -----------------------------------------------------  ------------------------------------------
    ok                an answer that is valid for the rubric                 counted
    rate_limited      429; `Retry-After` in seconds, ms or minutes, a date   retry: all requests wait, not counted
    server_error      5xx, 408, 409, or a 200 without a chat completion      retry after a pause, in the end skip
    connection        the connection is refused or dropped                   retry after a pause, in the end skip
    timeout           no complete answer in time                             retry after a pause, in the end skip
    expired           the batch ended before the request was processed       retry in the next batch
    no_schema         400, 422 about the response format or its grammar      retry in a simpler format
    invalid           not JSON, a field missing, a value out of range        retry once as a repair, then skip
    length            the answer was cut off at the limit                    retry once with twice the limit, then skip
    refusal           the model declines                                     skip
    content_filter    a filter of the provider, on request or answer         skip
    too_large         413, or more than the model's context                  skip
    bad_request       400, 422 about this sample                             skip
    too_long          a conversation longer than `max_chars`                 skip: nothing is sent
    unreadable_image  an image that cannot be decoded                        skip: nothing is sent
    unconfirmed       the only request, refused without naming a part        skip; the next run requests it again
    same_error        the same `bad_request` for several samples in a row    stop
    bad_setting       400, 422 about a setting of the request                stop
    no_vision         400, 422: the model takes no images                    stop
    bad_key           401, 403                                               stop
    wrong_model       404                                                    stop
    quota             402, or any status for an account without credit       stop
    long_wait         429 that asks for more than `max_wait_s`               stop
    redirect          3xx: the data would go to another address              stop
    no_answers        many requests in a row failed, or none was answered    stop
    batch_failed      the server refuses a whole batch                       stop
    cap_usd           the cap on spending is reached                         stop
    cap_requests      the cap on requests is reached                         stop
    interrupted       Ctrl-C or SIGTERM                                      stop

"Skip" gives the sample up, with the reason in the ledger and in rejects.jsonl. "Stop" waits for the requests in
flight, keeps their answers and ends the run with one line; the same command continues from there. The next run
requests again what was skipped because of the server (`ASKED_AGAIN`) and what was refused with `same_error`.

`responses` assigns the reasons. An error inside a 200 counts as the HTTP status that it names.
"""

from __future__ import annotations

import dataclasses

from mmssr_jax.judge.ledger import Action

TRANSIENT = ("server_error", "connection", "timeout", "expired")
ASKED_AGAIN = (*TRANSIENT, "unconfirmed")
"""Reasons of skipped samples that the next run requests again."""

_MAX_DETAIL_CHARS = 300
_MAX_REPAIR_CHARS = 4_000


def shorten(text: str, max_chars: int) -> str:
    """`text` with its middle cut out if it is longer than `max_chars`."""
    if len(text) <= max_chars:
        return text
    half = max_chars // 2
    return f"{text[:half]} [{len(text) - 2 * half} characters cut out] {text[-half:]}"


def one_line(text: object) -> str:
    """A server's message as one short line."""
    return " ".join(str(text)[: 10 * _MAX_DETAIL_CHARS].split())[:_MAX_DETAIL_CHARS]


@dataclasses.dataclass(frozen=True)
class ServerOutcome:
    """The outcome of one request.

    Attributes:
      action: "ok", "retry", "skip" or "stop".
      reason: a row of the table.
      detail: the message of the server or of the parser, in one line.
      wait_s: seconds to wait before any request, if the server says so.
      raw: the answer's text, if there is one.
      free: the request cost nothing, because the server answered with an error or was never reached.
      about_sample: the server named the part of the request that it refuses, and that part is the sample's.
    """

    action: Action
    reason: str = "ok"
    detail: str = ""
    wait_s: float | None = None
    raw: str | None = None
    free: bool = False
    about_sample: bool = False

    @property
    def is_transient(self) -> bool:
        """Whether the server failed, which is not about this request."""
        return self.reason in TRANSIENT


@dataclasses.dataclass(frozen=True)
class RetryAdjustments:
    """How the next request for a rating differs from the first, after an invalid answer.

    Attributes:
      repair: the answer and the problem with it.
      token_factor: the factor on the limit of answer tokens.
    """

    repair: tuple[str, str] | None = None
    token_factor: int = 1


def decide(
    outcome: ServerOutcome, adjustments: RetryAdjustments, *, failures: int, max_attempts: int
) -> tuple[ServerOutcome, RetryAdjustments]:
    """Whether to retry, and the adjustments to retry with.

    Args:
      adjustments: those of this request.
      failures: earlier requests for this rating with a transient failure.
      max_attempts: the sample is skipped after this many of them.

    Returns:
      The outcome, with "retry" changed into "skip" if there were enough tries, and the next request's adjustments.
    """
    if outcome.action != "retry":
        return outcome, adjustments
    given_up = dataclasses.replace(outcome, action="skip")
    if outcome.reason == "invalid":
        repair = (shorten(outcome.raw or "", _MAX_REPAIR_CHARS), outcome.detail)
        repaired = dataclasses.replace(adjustments, repair=repair)
        return (given_up, adjustments) if adjustments.repair else (outcome, repaired)
    if outcome.reason == "length":
        longer = dataclasses.replace(adjustments, token_factor=2)
        return (given_up, adjustments) if adjustments.token_factor > 1 else (outcome, longer)
    if outcome.is_transient and failures + 1 >= max_attempts:
        return given_up, adjustments
    return outcome, adjustments


class RunStoppedError(Exception):
    """The run cannot continue.

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


def stop_message(outcome: ServerOutcome, *, server: str, model: str, key_env: str | None) -> str:
    """The line that ends a run: what happened, the server's message, and how to fix it."""
    fixes = {
        "quota": "add credit to the account, then run the same command again",
        "bad_key": f"check the key in the environment variable {key_env}" if key_env else
        "the server requires a key; name its environment variable in api.api_key_env",
        "wrong_model": f"check api.model ({model!r}) and api.base_url",
        "bad_setting": "change that field of api",
        "no_vision": f"choose a model that takes images in place of api.model ({model!r})",
        "same_error": "change the setting that the server refuses, or raise api.limits.max_same_errors if the samples "
        "are at fault",
        "long_wait": "run the same command again later, or raise api.limits.max_wait_s",
        "redirect": "set api.base_url to the final address",
    }  # fmt: skip
    fix = fixes.get(outcome.reason, "run the same command again later")
    return f"judge: {server} refused ({outcome.reason}): {outcome.detail}; {fix}"
