import asyncio

import pytest

from mmssr_jax.judge.api.rate_limit import (
    Clock,
    ConcurrencyLimiter,
    RateLimiter,
    RateLimitTuning,
    parse_duration,
    rate_from_headers,
    retry_after,
)
from tests.judge.api_server import Call, RateLimit, Reply


class ManualClock(Clock):
    """Moves only when somebody sleeps."""

    def __init__(self):
        self.time = 100.0

    def now(self):
        return self.time

    async def sleep(self, seconds):
        self.time += seconds
        await asyncio.sleep(0)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("6m0s", 360.0), ("1s", 1.0), ("20ms", 0.02), ("1h2m3.5s", 3723.5), ("7m12s", 432.0), ("12", 12.0),
        (" 0.5 ", 0.5), ("1d", 86400.0), ("-3", None), ("soon", None), ("", None), (None, None), ("5 s", None),
        ("1700000000", None), ("nan", None), ("inf", None),
    ],
)  # fmt: skip
def test_durations(text, seconds):
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry-after": "30"}, 30.0),
        ({"retry-after": "5m"}, 300.0),
        ({"retry-after-ms": "250", "retry-after": "1"}, 0.25),
        # the server's clock is a year off: only the distance of its own two dates counts
        ({"retry-after": "Wed, 21 Oct 2015 07:28:30 GMT", "date": "Wed, 21 Oct 2015 07:28:00 GMT"}, 30.0),
        ({"retry-after": "Wed, 21 Oct 2015 07:27:00 GMT", "date": "Wed, 21 Oct 2015 07:28:00 GMT"}, None),
        ({"retry-after": "Wed, 21 Oct 2099 07:27:00 GMT", "date": "Wed, 21 Oct 2015 07:28:00 GMT"}, None),
        ({"retry-after": "Wed, 21 Oct 2015 07:28:30 GMT"}, None),
        ({"retry-after": "never", "date": "today"}, None),
    ],
)
def test_retry_after(headers, seconds):
    assert retry_after(headers) == seconds


def limits(limit, left, reset):
    names = ("limit", "remaining", "reset")
    return {f"x-ratelimit-{n}-requests": v for n, v in zip(names, (limit, left, reset), strict=True) if v is not None}


@pytest.mark.parametrize(
    ("headers", "rate"),
    [
        ({}, None),
        (limits("600", "599", "100ms"), 10.0),
        (limits("600", None, None), 10.0),
        (limits("200", "199", "7m12s"), 199 / 432),  # a limit for a day: what is left until then
        (limits("200", "1", "86000s"), 199 / 86000),
        (limits("0", "0", "1s"), None),
        (limits("lots", "0", "1s"), None),
        (limits("600", "700", "-5s"), 10.0),
        (limits("600", "599", "1700000000"), 10.0),  # a date where a duration belongs
    ],
)
def test_stated_rates(headers, rate):
    assert rate_from_headers(headers, "requests") == pytest.approx(rate)


def acquire_times(limiter, clock, n, tokens=0):
    async def go():
        times = []
        for _ in range(n):
            await limiter.acquire(tokens)
            times.append(clock.now())
        return times

    return asyncio.run(go())


def test_no_limit_no_wait():
    clock = ManualClock()
    assert acquire_times(RateLimiter(clock), clock, 5) == [100.0] * 5


def test_requests_are_evenly_spaced():
    clock = ManualClock()
    limiter = RateLimiter(clock, tuning=RateLimitTuning(headroom=1.0))
    limiter.update_limits(limits("60", "59", "1s"))
    assert acquire_times(limiter, clock, 4) == pytest.approx([100, 101, 102, 103])


def test_tokens_set_the_pace_where_they_are_scarcer():
    clock = ManualClock()
    limiter = RateLimiter(clock, tuning=RateLimitTuning(headroom=1.0))
    limiter.update_limits({"x-ratelimit-limit-requests": "6000", "x-ratelimit-limit-tokens": "6000"})
    times = acquire_times(limiter, clock, 3, tokens=500)  # 100 a second
    assert times[2] - times[1] == pytest.approx(5.0)


def test_user_limit_and_headroom():
    assert RateLimiter(ManualClock(), requests_per_minute=120).requests_per_second == 2.0
    limiter = RateLimiter(ManualClock(), tuning=RateLimitTuning(headroom=0.5))
    limiter.update_limits(limits("600", "1", "1s"))
    assert limiter.requests_per_second == 5.0


def test_a_block_delays_every_request():
    clock = ManualClock()
    limiter = RateLimiter(clock)
    limiter.block(180)
    limiter.block(20)
    assert acquire_times(limiter, clock, 2) == [280.0, 280.0]


@pytest.mark.parametrize("headers", [True, False])
def test_a_limit_is_used_and_rarely_exceeded(headers):
    """Ten minutes against a server that takes 600 requests in any minute, in simulated time."""
    clock = ManualClock()
    limit = RateLimit(600, headers=headers, script=lambda call: Reply(), now=clock.now)
    limiter = RateLimiter(clock)

    async def go():
        while clock.now() < 100 + 600:
            await limiter.acquire(0)
            reply = limit(Call(0, 0, {}, {}))
            limiter.update_limits(reply.headers)
            if reply.status == 429:
                limiter.on_rate_limited(retry_after(reply.headers))
            else:
                limiter.on_success()
            if not headers:
                clock.time += 0.01  # an unpaced client is limited by its latency

    asyncio.run(go())
    times = [t for t in limit.times if t >= 100 + 120]
    used = len(times) / (times[-1] - times[0]) / 10
    assert limit.refused <= 0.02 * len(limit.times)
    assert used >= 0.95


def test_a_temporary_overload_does_not_set_the_rate():
    limiter = RateLimiter(ManualClock())
    limiter.on_success()
    limiter.on_rate_limited(1.0)
    assert limiter.requests_per_second == float("inf")


def test_a_late_task_catches_up_a_little():
    clock = ManualClock()
    limiter = RateLimiter(clock, tuning=RateLimitTuning(headroom=1.0))
    limiter.update_limits(limits("600", "1", "1s"))
    acquire_times(limiter, clock, 1)
    clock.time += 60
    times = acquire_times(limiter, clock, 5)
    assert times[-1] - times[0] == pytest.approx(0.3)  # 0.4 s of spacing less 0.1 s


def test_concurrency_grows_and_halves():
    clock = ManualClock()
    limiter = ConcurrencyLimiter(clock, max_in_flight=20, tuning=RateLimitTuning(initial_concurrency=4))
    for _ in range(4):
        limiter.on_success()
    assert limiter.limit == 8
    limiter.on_overload()
    limiter.on_overload()  # within the same second
    assert limiter.limit == 4
    for _ in range(4):
        limiter.on_success()
    assert 4.9 < limiter.limit <= 5
    clock.time += 2
    for _ in range(9):
        clock.time += 2
        limiter.on_overload()
    assert limiter.limit == 1
    for _ in range(999):
        limiter.on_success()
    assert limiter.limit == 20


def test_concurrency_stays_within_its_limit():
    async def go():
        limiter = ConcurrencyLimiter(ManualClock(), max_in_flight=3, tuning=RateLimitTuning(initial_concurrency=3))
        most = 0

        async def one():
            nonlocal most
            async with limiter:
                most = max(most, limiter.in_flight)
                await asyncio.sleep(0)

        await asyncio.gather(*(one() for _ in range(50)))
        return most, limiter.in_flight

    assert asyncio.run(go()) == (3, 0)


def test_more_requests_start_when_the_limit_grows():
    async def go():
        limiter = ConcurrencyLimiter(ManualClock(), max_in_flight=8, tuning=RateLimitTuning(initial_concurrency=1))
        done = []

        async def one(i):
            async with limiter:
                await asyncio.sleep(0)
                limiter.on_success()
            done.append(i)

        await asyncio.gather(*(one(i) for i in range(40)))
        return len(done), limiter.limit

    assert asyncio.run(go()) == (40, 8)
