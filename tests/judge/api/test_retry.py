"""Row by row: what each thing that a server can do leads to, against a real socket."""

import dataclasses
import json
import re

import pytest

from mmssr_jax.core.errors import UserError
from mmssr_jax.core.sample import ImageRef, Sample, Turn
from mmssr_jax.judge.api import retry
from mmssr_jax.judge.api.responses import classify_batch_line, classify_completion, classify_status
from mmssr_jax.judge.api.retry import RetryAdjustments, ServerOutcome, decide
from mmssr_jax.judge.rubric import Rubric
from tests.judge.api_server import Reply, completion, error, good, rating
from tests.judge.conftest import KEY, FastClock, lookup

GOOD = json.dumps(rating(0))


def first(*replies):
    """Plays the replies for the first requests about a sample, then answers well."""
    return lambda call: replies[call.before] if call.before < len(replies) else good(call)


def always(reply):
    return lambda call: reply


def answer(content, **kw):
    return Reply(body=completion(content, **kw))


OK = ("ok", "")
SLOW = error(429, "rate_limit_exceeded", "slow down", retry_after="2")
NO_FORMAT = error(400, None, "bad", param="response_format.type")
OUT_OF_RANGE = answer(json.dumps(rating(0) | {"humanities": 9}))

# reason -> (what the server does, the ledger's story of sample 0)
ANSWERED = {
    "ok": (good, [OK]),
    "rate_limited": (first(*[SLOW] * 9), [("retry", "rate_limited")] * 9 + [OK]),
    "server_error": (first(error(500, None, "oops"), error(503, None, "oops")), [("retry", "server_error")] * 2 + [OK]),
    "connection": (first(Reply(drop=0), Reply(drop=40, body=completion(GOOD))), [("retry", "connection")] * 2 + [OK]),
    "timeout": (first(Reply(hang=60)), [("retry", "timeout"), OK]),
    "no_schema": (
        lambda call: (
            error(400, None, "bad", param="response_format.type") if "response_format" in call.body else good(call)
        ),
        [("retry", "no_schema")] * 2 + [OK],
    ),
    "invalid": (first(OUT_OF_RANGE), [("retry", "invalid"), OK]),
    "length": (first(answer(GOOD[:90], finish="length")), [("retry", "length"), OK]),
}
GIVEN_UP = {
    "server_error": (always(error(502, None, "oops")), [("retry", "server_error")] * 2 + [("skip", "server_error")]),
    "connection": (always(Reply(drop=0)), [("retry", "connection")] * 2 + [("skip", "connection")]),
    "timeout": (always(Reply(hang=60)), [("retry", "timeout")] * 2 + [("skip", "timeout")]),
    "invalid": (always(answer("I would rather not.")), [("retry", "invalid"), ("skip", "invalid")]),
    "length": (always(answer("{", finish="length")), [("retry", "length"), ("skip", "length")]),
    "refusal": (always(answer(None, refusal="I can't help with that.")), [("skip", "refusal")]),
    "content_filter": (always(answer("", finish="content_filter")), [("skip", "content_filter")]),
    "too_large": (always(error(400, "context_length_exceeded", "too many tokens")), [("skip", "too_large")]),
    "bad_request": (always(error(400, None, "bad image", param="messages[1].content")), [("skip", "bad_request")]),
    "too_long": (good, [("skip", "too_long")]),
    "unreadable_image": (good, [("skip", "unreadable_image")]),
}
# reason -> (what the server does, what the one line says)
STOPPED = {
    "bad_setting": (always(error(400, None, "not supported", param="temperature")), "temperature: not supported"),
    "no_vision": (
        always(error(400, None, "image input is not supported - hint: you may need to provide the mmproj")),
        r"image input is not supported.*model that takes images in place of api.model \('gpt-4o'\)",
    ),
    "same_error": (always(error(400, None, "unknown argument: --foo")), "5 samples in a row: unknown argument: --foo"),
    "bad_key": (always(error(401, "invalid_api_key", f"Incorrect API key provided: {KEY}")), "TEST_API_KEY"),
    "wrong_model": (
        always(error(404, "model_not_found", "no such model")),
        r"check api.model \('gpt-4o'\)",
    ),
    "quota": (always(error(429, "insufficient_quota", "You exceeded your quota", retry_after="1")), "add credit"),
    "long_wait": (always(error(429, None, "come back tomorrow", retry_after="86400")), "asks to wait 86400 s"),
    "redirect": (always(Reply(302, {}, {"location": "https://example.com/v1"})), "redirects to https://example.com/v1"),
    "no_answers": (always(error(500, None, "down")), "has answered nothing .* down"),
    "cap_usd": (good, r"cap of \$0.02 is reached"),
    "cap_requests": (good, "cap of 3 requests is reached"),
}
ELSEWHERE = {"expired", "batch_failed", "interrupted", "unconfirmed"}  # test_batch_judge, test_live, test_refusals


def rows():
    """Reason -> what follows, out of the module's table."""
    table = retry.__doc__.split("----\n")[-1].split("\n\n")[0]
    lines = [re.split(r"\s{2,}", line.strip()) for line in table.splitlines()]
    return {reason: follows for reason, _, follows in lines}


def test_every_row_of_the_table_is_tested():
    table = rows()
    assert set(table) == set(ANSWERED) | set(GIVEN_UP) | set(STOPPED) | ELSEWHERE
    for reason in ANSWERED:
        assert "retry" in table[reason] or reason == "ok"
    for reason in GIVEN_UP:
        assert "skip" in table[reason]
    for reason in STOPPED:
        assert table[reason] == "stop"


LIMITS = {"timeout_s": 30, "max_attempts": 3, "concurrency": 4}


def limits(reason):
    return {**LIMITS, "timeout_s": 1.0} if reason == "timeout" else LIMITS


@pytest.mark.parametrize("reason", ANSWERED)
def test_answered_in_the_end(bench, reason):
    script, story = ANSWERED[reason]
    b = bench(script, limits=limits(reason), clock=FastClock(100))
    b.run([0])
    assert b.story() == story
    assert json.loads(b.entries[-1].raw) == rating(0)
    assert [e.attempt for e in b.entries] == list(range(1, len(story) + 1))


@pytest.mark.parametrize("reason", GIVEN_UP)
def test_given_up_with_its_reason(bench, reason):
    script, story = GIVEN_UP[reason]
    b = bench(script, limits=limits(reason), samples=BROKEN.get(reason, lookup), clock=FastClock(100))
    b.run([0])
    assert b.story() == story
    assert b.entries[-1].detail
    assert len(b.server.calls) == (0 if reason in BROKEN else len(story))


BROKEN = {
    "too_long": lambda i: Sample(i, "s", (Turn("user", "x" * 50_000), Turn("assistant", "y"))),
    "unreadable_image": lambda i: Sample(
        i, "s", (Turn("user", "<image>"), Turn("assistant", "y")), (ImageRef(data=b"no picture"),)
    ),
}


@pytest.mark.parametrize("reason", STOPPED)
def test_the_run_stops_with_one_line(bench, reason, caplog):
    script, says = STOPPED[reason]
    caps = {"cap_usd": {"max_usd": 0.02}, "cap_requests": {"max_requests": 3}}.get(reason, {})
    b = bench(script, limits={**LIMITS, **caps, "max_attempts": 99})
    with pytest.raises(UserError, match=says) as e:
        b.run(range(10))
    assert "\n" not in str(e.value)
    assert KEY not in str(e.value) + caplog.text + b.ledger_path.read_text()
    if reason not in ("cap_usd", "cap_requests", "no_answers"):
        assert {e.reason for e in b.entries} == {reason}


def test_a_repair_shows_the_answer_and_the_problem(bench):
    b = bench(first(OUT_OF_RANGE))
    b.run([0])
    _, repair = b.server.calls
    assert repair.is_repair
    quoted = json.loads(repair.body["messages"][2]["content"].split("\n")[1])
    assert json.loads(quoted["earlier_answer"])["humanities"] == 9
    assert quoted["problem"] == "humanities is 9, expected an integer 0-5"


def test_a_cut_answer_gets_twice_the_room(bench):
    b = bench(first(answer("{", finish="length")), max_answer_tokens=50)
    b.run([0])
    assert [c.room for c in b.server.calls] == [50, 100]


def test_plain_json_stays_plain(bench):
    def script(call):
        if call.body.get("response_format", {}).get("type") == "json_schema":
            return error(400, None, "response_format of type json_schema is not supported")
        return answer(f"```json\n{json.dumps(rating(call.number))}\n```")

    b = bench(script, limits={"concurrency": 1})
    b.run(range(5))
    assert [e.mode for e in b.entries] == ["json_schema"] + ["json_object"] * 5
    assert b.server.calls[-1].body["response_format"] == {"type": "json_object"}


def test_a_fixed_form_does_not_fall_back(bench):
    b = bench(always(error(400, None, "no response_format here")), structured="json_object")
    with pytest.raises(UserError, match=r"bad_setting.*response_format"):
        b.run([0])


# --- the pure functions, on literal tables


@pytest.mark.parametrize(
    ("status", "body", "action", "reason"),
    [
        (429, {"error": {"type": "insufficient_quota", "code": None}}, "stop", "quota"),
        (402, "Payment Required", "stop", "quota"),
        (403, {"error": {"code": "model_not_found", "message": "no access"}}, "stop", "wrong_model"),
        (403, {"error": "country not supported"}, "stop", "bad_key"),
        (413, "", "skip", "too_large"),
        (400, {"error": {"code": "content_policy_violation"}}, "skip", "content_filter"),
        (
            400,
            {"object": "error", "message": "This model's maximum context length is 4096", "code": 400},
            "skip",
            "too_large",
        ),
        (422, {"error": {"message": "x", "param": "seed"}}, "stop", "bad_setting"),
        (400, "plain text", "skip", "bad_request"),
        (408, None, "retry", "server_error"),
        (529, {"error": {"type": "overloaded_error"}}, "retry", "server_error"),
        (429, "<html>", "retry", "rate_limited"),
    ],
)
def test_statuses(status, body, action, reason):
    outcome = classify_status(status, body, {}, max_wait_s=900)
    assert (outcome.action, outcome.reason) == (action, reason)
    assert "\n" not in outcome.detail


@pytest.mark.parametrize(
    "content",
    [b"", b"<html>", b"null", b"[]", b'{"choices": []}', b'{"choices": [{"message": null}]}', b"[" * 100_000],
)
def test_a_200_that_is_no_completion(content):
    outcome, payload = classify_completion(content, Rubric())
    assert (outcome.action, outcome.reason, payload) == ("retry", "server_error", {})


@pytest.mark.parametrize("status", ["abc", [1], {"code": 200}, "9" * 5000, float("inf"), None])
def test_a_batch_line_whose_status_is_no_number_is_requested_again(status):
    line = {"response": {"status_code": status, "body": completion(GOOD)}}
    outcome, payload = classify_batch_line(line, Rubric(), max_wait_s=900)
    assert (outcome.action, outcome.reason, payload) == ("retry", "server_error", {})


def test_answers_in_parts():
    body = completion(GOOD)
    body["choices"][0]["message"]["content"] = [
        {"type": "text", "text": GOOD[:50]},
        {"type": "text", "text": GOOD[50:]},
    ]
    assert classify_completion(json.dumps(body), Rubric())[0].action == "ok"


@pytest.mark.parametrize(
    ("outcome", "before", "failures", "action", "after"),
    [
        (ServerOutcome("ok"), RetryAdjustments(), 0, "ok", RetryAdjustments()),
        (
            ServerOutcome("retry", "invalid", "d", raw="r"),
            RetryAdjustments(),
            9,
            "retry",
            RetryAdjustments(repair=("r", "d")),
        ),
        (
            ServerOutcome("retry", "invalid", "d"),
            RetryAdjustments(token_factor=2),
            0,
            "retry",
            RetryAdjustments(repair=("", "d"), token_factor=2),
        ),
        (
            ServerOutcome("retry", "invalid"),
            RetryAdjustments(repair=("r", "d")),
            0,
            "skip",
            RetryAdjustments(repair=("r", "d")),
        ),
        (ServerOutcome("retry", "length"), RetryAdjustments(), 0, "retry", RetryAdjustments(token_factor=2)),
        (
            ServerOutcome("retry", "length"),
            RetryAdjustments(token_factor=2),
            0,
            "skip",
            RetryAdjustments(token_factor=2),
        ),
        (ServerOutcome("retry", "timeout"), RetryAdjustments(), 1, "retry", RetryAdjustments()),
        (ServerOutcome("retry", "timeout"), RetryAdjustments(), 2, "skip", RetryAdjustments()),
        (ServerOutcome("retry", "rate_limited"), RetryAdjustments(), 99, "retry", RetryAdjustments()),
    ],
)
def test_decisions(outcome, before, failures, action, after):
    decided, adjustments = decide(outcome, before, failures=failures, max_attempts=3)
    assert decided == dataclasses.replace(outcome, action=action)
    assert adjustments == after
