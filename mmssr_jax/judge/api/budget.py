"""Hard caps on spending and on requests, which hold however many requests are in flight."""

from __future__ import annotations

import asyncio

from mmssr_jax.judge.api.retry import RunStoppedError


class SpendingBudget:
    """The money spent so far, and the most that the requests in flight can still cost.

    A request reserves the most it can cost before it is sent; its actual cost replaces the reservation when it is
    answered. So the caps hold, unless a server charges more than the most that was expected of a request, and then
    they are exceeded by no more than the requests in flight.

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

    def cap_error(self, usd: float) -> RunStoppedError | None:
        """The cap that a further request of at most `usd` would exceed; None if it may be sent."""
        if self._max_requests is not None and self.requests >= self._max_requests:
            line = f"judge: the cap of {self._max_requests} requests is reached; raise limits.max_requests to continue"
            return RunStoppedError("cap_requests", line)
        if self._max_usd is not None and self.usd + self.reserved + usd > self._max_usd:
            return RunStoppedError(
                "cap_usd",
                f"judge: the cap of ${self._max_usd:.2f} is reached (${self.usd:.4f} spent, the next request may "
                f"cost ${usd:.4f}); raise limits.max_usd to continue",
            )
        return None

    def reserve(self, usd: float) -> None:
        """Reserves the most that a request can cost, when it is sent."""
        self.requests += 1
        self.in_flight += 1
        self.reserved += usd

    async def wait_and_reserve(self, usd: float) -> None:
        """Like `reserve`, after waiting as long as answers in flight may still free enough money.

        Raises:
          RunStoppedError: a cap is reached.
        """
        while (error := self.cap_error(usd)) is not None:
            if error.reason == "cap_requests" or not self.in_flight:
                raise error
            self._changed.clear()
            await self._changed.wait()
        self.reserve(usd)

    def settle(self, reserved: float, usd: float) -> None:
        """Replaces the reservation of a request by its actual cost."""
        self.in_flight -= 1
        # Without this, rounding would leave a residue once nothing is in flight.
        self.reserved = self.reserved - reserved if self.in_flight else 0.0
        self.usd += usd
        self._changed.set()
