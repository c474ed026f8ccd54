import json

import pytest

from mmssr_jax.core.errors import UserError
from mmssr_jax.core.workdir import Workdir
from mmssr_jax.report.blocks import Charts, Table
from mmssr_jax.report.inputs import read_inputs
from mmssr_jax.report.sections.judge_progress import judge_progress_blocks, read_requests


def entry(second, **more):
    time = f"2026-01-01T00:{second // 60:02d}:{second % 60:02d}.000+00:00"
    return json.dumps({"id": "a", "outcome": "ok", "cost": 0.25, "latency_s": 2.0, "time": time} | more) + "\n"


def write(tmp_path, text):
    path = Workdir(tmp_path).judge / "ledger.jsonl"
    path.parent.mkdir(parents=True)
    path.write_text(text)
    return path


def test_requests_cost_and_time(tmp_path):
    write(tmp_path, entry(0) + entry(120, latency_s=4.0) + entry(60, outcome="retry", latency_s=3.0) + '{"torn": ')
    table, charts = judge_progress_blocks(read_inputs(Workdir(tmp_path), "x"))
    assert isinstance(table, Table)
    assert table.rows == [("3", "2", "2 min 0 s", "$0.75", "$0.3750", "3.00", "3.90")]
    assert isinstance(charts, Charts)
    assert charts.title == "Ratings and cost by minutes since the first request"
    assert [c.title for c in charts.charts] == ["ratings", "US dollars"]


def test_requests_are_in_the_order_of_their_times(tmp_path):
    requests = read_requests(write(tmp_path, entry(3) + entry(1, outcome="skip")))
    assert requests.time.tolist() == [0, 2]
    assert requests.answered.tolist() == [False, True]


def test_an_oracle_that_is_done_at_once_has_no_curve(tmp_path):
    write(tmp_path, entry(1, cost=0.0) * 2)
    (table,) = judge_progress_blocks(read_inputs(Workdir(tmp_path), "x"))
    assert table.rows[0][:4] == ("2", "2", "0.0 s", "$0.00")


def test_nothing_without_a_ledger(nothing):
    assert judge_progress_blocks(nothing) == []


def test_a_damaged_line_is_named(tmp_path):
    path = write(tmp_path, entry(1) + "{}\n")
    with pytest.raises(UserError, match=r"ledger.jsonl:2: not a ledger line \('time'\)"):
        read_requests(path)
