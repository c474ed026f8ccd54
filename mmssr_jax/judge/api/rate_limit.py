"""How fast requests leave: a pace from the server's rate-limit headers, and a number in flight that adapts.

Gate    how many requests may be in flight: doubles while all goes well, halves on the first complaint,
        then grows by one a round (the way TCP does)
Pacer   when the next one may leave: evenly, just under the stated limits; nobody while the server asks to wait
"""

from __future__ import annotations

import asyncio
import collections
import email.utils
import re
import time
from collections.abc import Mapping

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")
# A wait that no rate limit has: a clock that is off, or a date in a field for durations.
_ABSURD_S = 7 * 86_400.0


class Clock:
    """Seconds since some moment, and sleeping; tests run on a faster one."""

    def now(self) -> float:
        """Monotonic seconds."""
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        """Waits."""
        await asyncio.sleep(seconds)


def parse_duration(text: str | None) -> float | None:
    """`"6m0s"` -> 360.0, `"20ms"` -> 0.02, `"1.5"` -> 1.5; None where it is no duration, or not a plausible one."""
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
    return seconds if 0 <= seconds < _ABSURD_S else None


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds that the server asks to wait, out of `retry-after-ms` or `Retry-After`; None where it does not say.

    A date is taken against the server's own `Date`, never against this machine's clock.
    """
    millis = parse_duration(headers.get("retry-after-ms"))
    if millis is not None:
        return millis / 1000
    value = headers.get("retry-after")
    seconds = parse_duration(value)
    if seconds is not None or value is None:
        return seconds
    try:
        until = email.utils.parsedate_to_datetime(value)
        seconds = (until - email.utils.parsedate_to_datetime(headers.get("date", ""))).total_seconds()
    except (TypeError, ValueError):
        return None
    return seconds if 0 <= seconds < _ABSURD_S else None


def stated_rate(headers: Mapping[str, str], kind: str) -> float | None:
    """Units a second that `x-ratelimit-*-{kind}` allow; None where they do not say.

    A limit is for a minute. Where the reset lies further away than a minute can explain (limits for a day), the
    rate is what refills, or what is left, until then, whichever is more.

    Args:
      kind: "requests" or "tokens".
    """
    try:
        limit = float(headers[f"x-ratelimit-limit-{kind}"])
        left = float(headers.get(f"x-ratelimit-remaining-{kind}", "nan"))
    except (KeyError, ValueError):
        return None
    if not 0 < limit < float("inf"):
        return None
    reset = parse_duration(headers.get(f"x-ratelimit-reset-{kind}"))
    if reset is None or reset <= 90 or not 0 <= left <= limit:
        return limit / 60
    return max(limit - left, left) / reset


class RateLimiter:
    """Lets requests go one after the other, evenly spaced.

    Args:
      headroom: the share of the stated limits that is used.
      per_minute: a limit on requests of the user's own.
    """

    # Waking late must not lose pace: so much of a delay is made up for at once.
    _SLACK_S = 0.1
    # A refusal with a longer wait is one of a limit for a minute; shorter ones are of a server that is busy now.
    _LIMITED_S = 5.0
    # A limit that was only seen is tried again: by so much more every ten seconds.
    _GROWTH = 1.02

    def __init__(self, clock: Clock, *, headroom: float = 0.985, per_minute: float | None = None):
        self._clock = clock
        self._headroom = headroom
        self._own = per_minute / 60 if per_minute else float("inf")
        self._requests = self._tokens = float("inf")
        self._seen, self._seen_at = float("inf"), 0.0
        self._answers: collections.deque[float] = collections.deque()
        self._next = self._until = clock.now()
        self._turns = asyncio.Lock()

    @property
    def requests_a_second(self) -> float:
        """The pace; infinite where nobody set a limit."""
        stated = self._requests
        if stated == float("inf") and self._seen < stated:
            stated = self._seen * self._GROWTH ** ((self._clock.now() - self._seen_at) / 10)
        return min(self._own, stated * self._headroom)

    def answered(self) -> None:
        """A request was let through."""
        now = self._clock.now()
        self._answers.append(now)
        while self._answers[0] < now - 60:
            self._answers.popleft()

    def refused(self, wait: float) -> None:
        """A request was refused with `wait` seconds to wait: what was answered within a minute is the limit."""
        self.pause(wait)
        limited = wait >= self._LIMITED_S or self._seen < float("inf")
        if self._requests == float("inf") and limited:
            self._seen, self._seen_at = max(1, len(self._answers)) / 60, self._clock.now()

    def learn(self, headers: Mapping[str, str]) -> None:
        """Takes over the limits that an answer states."""
        self._requests = stated_rate(headers, "requests") or self._requests
        self._tokens = stated_rate(headers, "tokens") or self._tokens

    def pause(self, seconds: float) -> None:
        """Nobody leaves for so long."""
        self._until = max(self._until, self._clock.now() + seconds)

    async def turn(self, tokens: int) -> None:
        """Waits until a request of so many tokens may leave."""
        async with self._turns:
            while (wait := max(self._next, self._until) - self._clock.now()) > 0:
                await self._clock.sleep(wait)
            interval = 1 / self.requests_a_second
            if self._tokens < float("inf"):
                interval = max(interval, tokens / (self._tokens * self._headroom))
            self._next = max(self._next, self._clock.now() - self._SLACK_S) + interval


class ConcurrencyLimiter:
    """How many requests are in flight at once; `async with gate:` holds one place.

    Args:
      most: never more.
      start: at first.
    """

    _CALM_S = 1.0

    def __init__(self, clock: Clock, *, most: int, start: int = 8):
        self._clock = clock
        self._most = most
        self.limit = float(min(start, most))
        self.held = 0
        self._waiting: collections.deque[asyncio.Future[None]] = collections.deque()
        self._doubling = True
        self._shrunk = float("-inf")

    def went_well(self) -> None:
        """A request was answered: room for more."""
        self.limit = min(self._most, self.limit + (1 if self._doubling else 1 / self.limit))
        self._wake()

    def complained(self) -> None:
        """The server was overloaded: half as many, at most once a second."""
        self._doubling = False
        if self._clock.now() - self._shrunk >= self._CALM_S:
            self._shrunk = self._clock.now()
            self.limit = max(1.0, self.limit / 2)

    async def __aenter__(self) -> None:
        while self.held >= int(self.limit):
            place = asyncio.get_running_loop().create_future()
            self._waiting.append(place)
            await place
        self.held += 1

    async def __aexit__(self, *exc: object) -> None:
        self.held -= 1
        self._wake()

    def _wake(self) -> None:
        for _ in range(int(self.limit) - self.held):
            while self._waiting:
                place = self._waiting.popleft()
                if not place.done():
                    place.set_result(None)
                    break
