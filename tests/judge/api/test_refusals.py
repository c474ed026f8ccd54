"""Refusals that are about a setting rather than a sample, and servers that are not quite OpenAI's."""

import json

import pytest

from mmssr_jax.core.errors import UserError
from mmssr_jax.judge.api.responses import classify_completion, classify_status
from mmssr_jax.judge.rubric import Rubric
from tests.judge.api.test_batch_judge import Bench as BatchBench
from tests.judge.api_server import Reply, completion, error, good, rating
from tests.judge.batch_server import Batches

UNKNOWN = error(400, None, "unknown argument: --foo")


def fastapi(*loc, msg="Extra inputs are not permitted"):
    return {"detail": [{"type": "extra_forbidden", "loc": ["body", *loc], "msg": msg, "input": 1}]}


@pytest.mark.parametrize(
    ("body", "action", "reason"),
    [
        # vLLM, SGLang and llama.cpp about a schema that their grammar does not support
        ({"object": "error", "message": "The provided JSON schema contains features not supported by xgrammar."},
         "retry", "no_schema"),
        ({"error": {"message": "Failed to initialize samplers: failed to parse grammar"}}, "retry", "no_schema"),
        ({"message": "Compilation of guided decoding failed"}, "retry", "no_schema"),
        (fastapi("response_format", "type"), "retry", "no_schema"),
        # fields that an old server does not have
        (fastapi("max_completion_tokens"), "stop", "bad_setting"),
        ({"error": {"message": "Unrecognized request argument supplied: max_tokens"}}, "stop", "bad_setting"),
        ({"message": "[{'type': 'extra_forbidden', 'loc': ('body', 'reasoning_effort'), 'msg': 'Extra inputs'}]"},
         "stop", "bad_setting"),
        # models without vision
        ({"message": "At most 0 image(s) may be provided in one request."}, "stop", "no_vision"),
        ({"message": "llama3 is not a multimodal model"}, "stop", "no_vision"),
        ({"error": {"message": "This model does not support image_url content."}}, "stop", "no_vision"),
        ({"detail": "Unknown part type: image_url"}, "stop", "no_vision"),
        # about one sample
        (fastapi("messages", 1, "content"), "skip", "bad_request"),
        ({"error": {"message": "You uploaded an unsupported image. Please use one of these formats: png"}}, "skip",
         "bad_request"),
        ({"error": {"message": "This image format is not supported"}}, "skip", "bad_request"),
        ({"message": "This model's maximum context length is 4096 tokens, you requested 5000 (max_tokens 800)"}, "skip",
         "too_large"),
        ({"detail": []}, "skip", "bad_request"),
        ({"detail": "no"}, "skip", "bad_request"),
    ],
)  # fmt: skip
def test_bad_requests(body, action, reason):
    for status in (400, 422):
        outcome = classify_status(status, body, {}, max_wait_s=900)
        assert (outcome.action, outcome.reason) == (action, reason)


def test_fastapi_says_which_field():
    outcome = classify_status(422, fastapi("seed", msg="not here"), {}, max_wait_s=900)
    assert outcome.detail == "seed: not here"


def test_a_server_without_grammars_gets_plain_text(bench):
    def script(call):
        if "response_format" in call.body:
            return error(400, "400", "guided decoding needs a grammar backend such as xgrammar")
        return good(call)

    b = bench(script, limits={"concurrency": 1})
    b.run(range(3))
    assert [e.mode for e in b.entries] == ["json_schema", "json_object", "text", "text", "text"]
    assert {e.outcome for e in b.entries[2:]} == {"ok"}


def test_words_about_grammar_without_a_format_are_about_the_sample(bench):
    refused = error(400, None, "bad grammar in your messages")
    b = bench(lambda call: refused if call.number == 1 else good(call), structured="text", limits={"concurrency": 1})
    b.run(range(3))
    assert b.story(1) == [("skip", "bad_request")]


def test_equal_refusals_in_a_row_stop_the_run_and_are_requested_again(bench):
    b = bench(lambda call: good(call) if call.number < 3 else UNKNOWN, limits={"concurrency": 1})
    with pytest.raises(
        UserError, match=r"same_error.*refused 5 samples in a row: unknown argument: --foo.*api\.limits"
    ):
        b.run(range(20))
    assert [(e.id, e.outcome, e.reason) for e in b.entries] == [
        *((f"s{i}", "ok", "") for i in range(3)),
        *((f"s{i}", "stop", "same_error") for i in range(3, 8)),
    ]
    assert sum(e.cost for e in b.entries[3:]) == 0
    again = bench()
    again.run(range(20))
    assert sorted(c.number for c in again.server.calls) == list(range(3, 20))
    assert {i: again.story(i)[-1] for i in range(20)} == dict.fromkeys(range(20), ("ok", ""))


def test_many_in_flight_are_all_requested_again(bench):
    b = bench(lambda call: Reply(400, UNKNOWN.body, hang=0.05), limits={"concurrency": 16})
    with pytest.raises(UserError, match="same_error"):
        b.run(range(200))
    assert {(e.outcome, e.reason) for e in b.entries} == {("stop", "same_error")}
    assert len(b.entries) == len(b.server.calls)


@pytest.mark.parametrize(
    "script",
    [
        lambda call: UNKNOWN if call.number % 5 else good(call),  # four in a row
        lambda call: error(400, None, f"image {call.number} is too small"),
        lambda call: UNKNOWN if call.number % 5 else Reply(body=completion(None, refusal="no")),
    ],
)
def test_other_refusals_are_skipped(bench, script):
    b = bench(script, limits={"concurrency": 1})
    b.run(range(20))
    assert sum(e.outcome == "skip" and e.reason == "bad_request" for e in b.entries) >= 16
    again = bench()
    again.run(range(20))
    assert not again.server.calls


def test_the_number_of_equal_refusals_is_a_setting(bench):
    b = bench(lambda call: UNKNOWN if call.number < 9 else good(call), limits={"concurrency": 1, "max_same_errors": 10})
    b.run(range(12))
    assert b.story(0) == [("skip", "bad_request")]
    assert b.story(11) == [("ok", "")]


def test_a_first_try_of_a_few_samples_is_not_lost(bench):
    b = bench(lambda call: UNKNOWN)
    with pytest.raises(UserError, match="same_error"):
        b.run(range(3))
    again = bench()
    again.run(range(3))
    assert len(again.server.calls) == 3


def test_one_refused_alone_is_requested_again(bench):
    """Whether the sample or a setting is refused shows only at the next request."""
    b = bench(lambda call: UNKNOWN)
    b.run([0])
    assert b.story(0) == [("skip", "unconfirmed")]
    mended = bench()
    mended.run(range(3))
    assert len(mended.server.calls) == 3
    assert mended.story(0)[-1] == ("ok", "")


def test_one_refused_alone_for_its_content_is_skipped(bench):
    b = bench(lambda call: error(400, None, "bad image", param="messages[1].content"))
    b.run([0])
    assert b.story(0) == [("skip", "bad_request")]
    again = bench()
    again.run([0])
    assert not again.server.calls


def test_equal_refusals_stop_a_batch(tmp_path, key):
    b = BatchBench(tmp_path, Batches(lambda call: UNKNOWN))
    with pytest.raises(UserError, match=r"same_error.*unknown argument: --foo"):
        b.run(range(9))
    assert {(e.outcome, e.reason) for e in b.entries} == {("stop", "same_error")}
    again = BatchBench(tmp_path, Batches())
    again.run(range(9))
    assert again.service.sizes == [9]


# --- errors inside a 200


def inside_200(**fields):
    return Reply(200, {"error": {"message": "provider says no", **fields}})


def test_an_error_inside_a_200_costs_nothing_and_is_shown(bench):
    b = bench(lambda call: inside_200(code=502) if call.before == 0 else good(call), limits={"max_usd": 1.0})
    b.run([0])
    first, second = b.entries
    assert (first.reason, first.detail) == ("server_error", "provider says no")
    assert (first.cost, first.cost_estimated) == (0, False)
    assert second.outcome == "ok"


@pytest.mark.parametrize("fields", [{"code": 402}, {"type": "insufficient_quota"}, {"code": "insufficient_quota"}])
def test_no_credit_inside_a_200_stops_the_run(bench, fields):
    b = bench(lambda call: inside_200(**fields))
    with pytest.raises(UserError, match=r"quota\): provider says no; add credit"):
        b.run(range(3))
    assert sum(e.cost for e in b.entries) == 0


def test_an_error_of_the_choice():
    body = completion("")
    body["choices"][0] |= {"error": {"code": 429, "message": "slow down"}, "finish_reason": "error"}
    outcome, payload = classify_completion(json.dumps(body), Rubric(), headers={"retry-after": "7"})
    assert (outcome.action, outcome.reason, outcome.wait_s, payload) == ("retry", "rate_limited", 7.0, {})


# --- long answers


def test_a_huge_answer_is_shortened_in_the_ledger_and_in_the_repair(bench):
    huge = "{" * 30_000_000
    b = bench(lambda call: good(call) if call.is_repair else Reply(body=completion(huge)), limits={"max_usd": 5.0})
    b.run([0])
    assert b.story() == [("retry", "invalid"), ("ok", "")]
    assert b.ledger_path.stat().st_size < 100_000
    assert "29934464 characters cut out" in b.entries[0].raw
    assert len(json.dumps(b.server.calls[1].body)) < 30_000


def test_a_long_text_before_the_answer_does_not_matter(bench):
    text = "<think>" + "Hmm, {maybe}. " * 200_000 + "</think>"
    b = bench(lambda call: Reply(body=completion(text + json.dumps(rating(call.number)))))
    b.run([4])
    assert b.story(4) == [("ok", "")]
    assert len(b.entries[0].raw) < 70_000
