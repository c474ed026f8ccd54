"""Hard caps on money and on requests, which hold however many requests are in flight."""

from __future__ import annotations

import asyncio

from mmssr_jax.judge.api.retry import RunStoppedError


class SpendingBudget:
    """What was spent, and what the requests in flight may still cost.

    A request reserves the most it can cost before it leaves; when it is answered, what it did cost takes the
    reservation's place. So the caps are not passed, unless a server charges more than was to be expected of a
    request, and then by no more than the requests in flight.

    Args:
      usd: spent before.
      requests: sent before.
      max_usd: the cap in US dollars, or None.
      max_requests: the cap on requests, or None.
    """

    def __init__(self, *, usd: float, requests: int, max_usd: float | None, max_requests: int | None):
        self.usd, self.requests = usd, requests
        self.reserved = 0.0
        self.in_flight = 0
        self._max_usd, self._max_requests = max_usd, max_requests
        self._changed = asyncio.Event()

    def refusal(self, usd: float) -> RunStoppedError | None:
        """Why a request that costs at most `usd` may not leave now; None where it may."""
        if self._max_requests is not None and self.requests >= self._max_requests:
            line = f"judge: the cap of {self._max_requests} requests is reached; raise limits.max_requests to go on"
            return RunStoppedError("cap_requests", line)
        if self._max_usd is not None and self.usd + self.reserved + usd > self._max_usd:
            return RunStoppedError(
                "cap_usd",
                f"judge: the cap of ${self._max_usd:.2f} is reached (${self.usd:.4f} spent, the next request may "
                f"cost ${usd:.4f}); raise limits.max_usd to go on",
            )
        return None

    def take(self, usd: float) -> None:
        """Reserves for a request that leaves now."""
        self.requests += 1
        self.in_flight += 1
        self.reserved += usd

    async def reserve(self, usd: float) -> None:
        """`take`, after waiting while answers on their way may still leave room.

        Raises:
          RunStoppedError: a cap is reached.
        """
        while (refusal := self.refusal(usd)) is not None:
            if refusal.reason == "cap_requests" or not self.in_flight:
                raise refusal
            self._changed.clear()
            await self._changed.wait()
        self.take(usd)

    def settle(self, reserved: float, usd: float) -> None:
        """A request that had reserved `reserved` is over and cost `usd`."""
        self.in_flight -= 1
        # Without this, rounding would leave a residue once nothing is in flight.
        self.reserved = self.reserved - reserved if self.in_flight else 0.0
        self.usd += usd
        self._changed.set()
