"""The grader over a real socket, against a server that misbehaves."""

from __future__ import annotations

import pytest

from mmssr_jax.core.errors import UserError
from mmssr_jax.evaluation.api_grader import ApiGrader, GraderConfig
from mmssr_jax.evaluation.benchmark_registry import get_benchmark
from mmssr_jax.evaluation.grading import add_grades
from mmssr_jax.evaluation.score import GRADE
from mmssr_jax.judge.ledger import read_ledger
from tests.judge.api_server import ApiServer, Reply, completion, error

KEY = "sk-test-0123456789"
ROWS = [
    {"index": str(i), "question": f"What is #{i}?", "answer": "a bus", "prediction": "a bus", "category": "rec"}
    for i in range(5)
]


@pytest.fixture(autouse=True)
def key(monkeypatch):
    monkeypatch.setenv("TEST_API_KEY", KEY)


def grade(server, path, **settings):
    config = GraderConfig("gpt-4o", base_url=server.url, api_key_env="TEST_API_KEY", **settings)
    return add_grades(ROWS, get_benchmark("mmvet"), ApiGrader(config), path, name="vet")


def tenth(call):
    """Grades question #n with 0.n."""
    return Reply(body=completion(f"0.{call.number}"))


def test_replies_land_beside_their_questions(tmp_path):
    with ApiServer(tenth) as server:
        rows, judge = grade(server, tmp_path / "ledger.jsonl")
    assert [row[GRADE] for row in rows] == ["0.0", "0.1", "0.2", "0.3", "0.4"]
    assert judge["name"] == "gpt-4o"
    assert {call.body["temperature"] for call in server.calls} == {0.0}
    entries = list(read_ledger(tmp_path / "ledger.jsonl"))
    assert all(entry.model == "gpt-4o-2024-11-20" and entry.cost > 0 for entry in entries)
    assert KEY not in (tmp_path / "ledger.jsonl").read_text()


def test_passing_trouble_is_waited_out(tmp_path):
    def script(call):
        if call.before == 0:
            return error(500, None, "try again") if call.number % 2 else error(429, "slow", "slow", retry_after_ms="1")
        return tenth(call)

    with ApiServer(script) as server:
        rows, _ = grade(server, tmp_path / "ledger.jsonl")
    assert rows[4][GRADE] == "0.4"


def test_no_credit_stops_with_one_line_and_goes_on_later(tmp_path):
    def script(call):
        return tenth(call) if call.number < 2 else error(429, "insufficient_quota", "You have no credit")

    with ApiServer(script) as server, pytest.raises(UserError, match=r"refused \(quota: You have no credit\)"):
        grade(server, tmp_path / "ledger.jsonl", max_attempts=1, concurrency=1)
    with ApiServer(tenth) as server:
        grade(server, tmp_path / "ledger.jsonl")
    assert sorted(call.number for call in server.calls) == [2, 3, 4]


def test_a_filtered_answer_is_skipped(tmp_path):
    def script(call):
        return error(400, "content_filter", "filtered") if call.number == 3 else tenth(call)

    with ApiServer(script) as server:
        rows, _ = grade(server, tmp_path / "ledger.jsonl")
    assert [row[GRADE] for row in rows] == ["0.0", "0.1", "0.2", "", "0.4"]


def test_the_cap_on_money(tmp_path):
    with ApiServer(tenth) as server, pytest.raises(UserError, match=r"config.evaluate.judge.max_usd"):
        grade(server, tmp_path / "ledger.jsonl", max_usd=0.004, concurrency=1)
    assert 1 <= len(server.calls) < 5


def test_an_unknown_server_is_one_line(tmp_path):
    with ApiServer(tenth) as server:
        pass
    with pytest.raises(UserError, match=r"grading by gpt-4o: http://127.0.0.1:\d+/v1 refused"):
        grade(server, tmp_path / "ledger.jsonl", max_attempts=1)
