"""Rate limiting: when the next request may be sent, and how many may be in flight.

ConcurrencyLimiter  requests in flight: doubles per round trip until the first overload, halves on overload, then
                    grows by one per round trip (additive increase, multiplicative decrease, as in TCP)
RateLimiter         when the next request may be sent: evenly spaced just below the limits in the server's headers,
                    and not while the server asks to wait
"""

from __future__ import annotations

import asyncio
import collections
import dataclasses
import email.utils
import re
import time
from collections.abc import Mapping

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")


@dataclasses.dataclass(frozen=True)
class RateLimitTuning:
    """Constants of both limiters.

    Attributes:
      headroom: the share of the server's stated limits that is used.
      max_catch_up_s: a task that wakes up late sends this much earlier afterwards, so that the rate is kept.
      min_limit_wait_s: a refusal with at least this wait is taken for a limit per minute; a shorter one is a
        temporary overload and does not set the rate.
      probe_factor, probe_every_s: a rate that was inferred from refusals grows by this factor in this many seconds.
      initial_concurrency: requests in flight at first.
      min_decrease_s: the number in flight is halved at most once in this time.
    """

    headroom: float = 0.985
    max_catch_up_s: float = 0.1
    min_limit_wait_s: float = 5.0
    probe_factor: float = 1.02
    probe_every_s: float = 10.0
    initial_concurrency: int = 8
    min_decrease_s: float = 1.0


# A longer wait is not a rate limit: a wrong clock, or a date in a field for durations.
_MAX_PLAUSIBLE_S = 7 * 86_400.0


class Clock:
    """Monotonic seconds, and sleeping; tests replace it by a faster one."""

    def now(self) -> float:
        """Monotonic seconds."""
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        """Sleeps."""
        await asyncio.sleep(seconds)


def parse_duration(text: str | None) -> float | None:
    """`"6m0s"` -> 360.0, `"20ms"` -> 0.02, `"1.5"` -> 1.5; None for anything else and for implausible values."""
    if text is None:
        return None
    text = text.strip().lower()
    try:
        seconds = float(text)
    except ValueError:
        parts = _DURATION.findall(text)
        if not parts or "".join(n + u for n, u in parts) != text:
            return None
        seconds = sum(float(n) * _UNITS[u] for n, u in parts)
    return seconds if 0 <= seconds < _MAX_PLAUSIBLE_S else None


def retry_after(headers: Mapping[str, str]) -> float | None:
    """The wait in seconds of `retry-after-ms` or `Retry-After`; None without either.

    A date is compared with the server's own `Date` header, never with this machine's clock.
    """
    millis = parse_duration(headers.get("retry-after-ms"))
    if millis is not None:
        return millis / 1000
    value = headers.get("retry-after")
    seconds = parse_duration(value)
    if seconds is not None or value is None:
        return seconds
    try:
        date = email.utils.parsedate_to_datetime(value)
        seconds = (date - email.utils.parsedate_to_datetime(headers.get("date", ""))).total_seconds()
    except (TypeError, ValueError):
        return None
    return seconds if 0 <= seconds < _MAX_PLAUSIBLE_S else None


def rate_from_headers(headers: Mapping[str, str], kind: str) -> float | None:
    """Units per second that the `x-ratelimit-*-{kind}` headers allow; None without them.

    A limit is per minute. If the reset is further away than a minute can explain (a limit per day), the rate is the
    larger of what refills and what remains, divided by the time until the reset.

    Args:
      kind: "requests" or "tokens".
    """
    try:
        limit = float(headers[f"x-ratelimit-limit-{kind}"])
        remaining = float(headers.get(f"x-ratelimit-remaining-{kind}", "nan"))
    except (KeyError, ValueError):
        return None
    if not 0 < limit < float("inf"):
        return None
    reset = parse_duration(headers.get(f"x-ratelimit-reset-{kind}"))
    if reset is None or reset <= 90 or not 0 <= remaining <= limit:
        return limit / 60
    return max(limit - remaining, remaining) / reset


class RateLimiter:
    """Spaces requests evenly.

    Args:
      tuning: constants.
      requests_per_minute: a user-supplied limit.
    """

    def __init__(
        self, clock: Clock, *, tuning: RateLimitTuning = RateLimitTuning(), requests_per_minute: float | None = None
    ):
        self._clock, self._tuning = clock, tuning
        self._user_rate = requests_per_minute / 60 if requests_per_minute else float("inf")
        self._requests = self._tokens = float("inf")  # per second, as stated in headers
        self._inferred, self._inferred_at = float("inf"), 0.0
        self._successes: collections.deque[float] = collections.deque()
        self._next = self._blocked_until = clock.now()
        self._queue = asyncio.Lock()

    @property
    def requests_per_second(self) -> float:
        """The current rate; infinite without any limit."""
        rate = self._requests
        if rate == float("inf") and self._inferred < rate:
            elapsed = (self._clock.now() - self._inferred_at) / self._tuning.probe_every_s
            rate = self._inferred * self._tuning.probe_factor**elapsed
        return min(self._user_rate, rate * self._tuning.headroom)

    def on_success(self) -> None:
        """The server accepted a request."""
        now = self._clock.now()
        self._successes.append(now)
        while self._successes[0] < now - 60:
            self._successes.popleft()

    def on_rate_limited(self, wait_s: float) -> None:
        """The server refused a request; without stated limits, the requests accepted within a minute are the limit."""
        self.block(wait_s)
        is_limit = wait_s >= self._tuning.min_limit_wait_s or self._inferred < float("inf")
        if self._requests == float("inf") and is_limit:
            self._inferred, self._inferred_at = max(1, len(self._successes)) / 60, self._clock.now()

    def update_limits(self, headers: Mapping[str, str]) -> None:
        """Takes over the limits in an answer's headers."""
        self._requests = rate_from_headers(headers, "requests") or self._requests
        self._tokens = rate_from_headers(headers, "tokens") or self._tokens

    def block(self, seconds: float) -> None:
        """No request is sent for this long."""
        self._blocked_until = max(self._blocked_until, self._clock.now() + seconds)

    async def acquire(self, tokens: int) -> None:
        """Waits until a request of this many tokens may be sent."""
        async with self._queue:
            while (wait := max(self._next, self._blocked_until) - self._clock.now()) > 0:
                await self._clock.sleep(wait)
            interval = 1 / self.requests_per_second
            if self._tokens < float("inf"):
                interval = max(interval, tokens / (self._tokens * self._tuning.headroom))
            self._next = max(self._next, self._clock.now() - self._tuning.max_catch_up_s) + interval


class ConcurrencyLimiter:
    """Limits the requests in flight; `async with limiter:` holds one slot.

    Args:
      max_in_flight: upper bound.
      tuning: constants.
    """

    def __init__(self, clock: Clock, *, max_in_flight: int, tuning: RateLimitTuning = RateLimitTuning()):
        self._clock, self._tuning = clock, tuning
        self._max_in_flight = max_in_flight
        self.limit = float(min(tuning.initial_concurrency, max_in_flight))
        self.in_flight = 0
        self._waiting: collections.deque[asyncio.Future[None]] = collections.deque()
        self._slow_start = True
        self._decreased_at = float("-inf")

    def on_success(self) -> None:
        """A request was answered: raises the limit."""
        self.limit = min(self._max_in_flight, self.limit + (1 if self._slow_start else 1 / self.limit))
        self._wake()

    def on_overload(self) -> None:
        """The server was overloaded: halves the limit."""
        self._slow_start = False
        if self._clock.now() - self._decreased_at >= self._tuning.min_decrease_s:
            self._decreased_at = self._clock.now()
            self.limit = max(1.0, self.limit / 2)

    async def __aenter__(self) -> None:
        while self.in_flight >= int(self.limit):
            slot = asyncio.get_running_loop().create_future()
            self._waiting.append(slot)
            await slot
        self.in_flight += 1

    async def __aexit__(self, *exc: object) -> None:
        self.in_flight -= 1
        self._wake()

    def _wake(self) -> None:
        for _ in range(int(self.limit) - self.in_flight):
            while self._waiting:
                slot = self._waiting.popleft()
                if not slot.done():
                    slot.set_result(None)
                    break
