"""Rate and time to go, by a clock that the test turns."""

from __future__ import annotations

import pytest

from mmssr_jax.core import progress
from mmssr_jax.core.progress import Progress, duration


class Clock:
    def __init__(self):
        self.now = 100.0

    def monotonic(self):
        return self.now


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(progress, "time", clock)
    return clock


@pytest.fixture
def lines(monkeypatch):
    said: list[str] = []
    monkeypatch.setattr(progress.logging, "info", lambda text, *args: said.append(text % args))
    return said


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0.0s"), (4.25, "4.2s"), (59.4, "59.4s"), (60, "1m00s"), (75, "1m15s"), (3599.9, "1h00m"), (7384, "2h03m")],
)
def test_duration(seconds, text):
    assert duration(seconds) == text


def test_rate_and_time_to_go(clock, lines):
    p = Progress("scoring", 100, "rows", every=5)
    clock.now += 4
    p.add(8)
    assert lines == []
    clock.now += 1
    p.add(2, note="loss 1.5")
    clock.now += 10
    p.add(20)
    assert lines == [
        "scoring: 10/100 rows, 2.0 rows/s, 45.0s to go, loss 1.5",
        "scoring: 30/100 rows, 2.0 rows/s, 35.0s to go",
    ]


def test_what_an_earlier_run_did_does_not_count_for_the_rate(clock, lines):
    p = Progress("training", 100, "steps", done=90, every=0)
    clock.now += 4
    p.add(2)
    assert lines == ["training: 92/100 steps, 0.5 steps/s, 16.0s to go"]


def test_nothing_done_yet_has_no_time_to_go(clock, lines):
    p = Progress("a", 10, every=5)
    clock.now += 5
    p.add(0)
    assert lines == ["a: 0/10 samples, 0.0 samples/s, ? to go"]


def test_over_counts_each_item_when_the_next_is_asked_for(clock, lines):
    p = Progress("a", 3, every=0)
    seen = []
    for item in p.over("xyz"):
        seen.append((item, p.done))
        clock.now += 1
    assert seen == [("x", 0), ("y", 1), ("z", 2)]
    assert p.done == 3
    assert lines[-1] == "a: 3/3 samples, 1.0 samples/s, 0.0s to go"
