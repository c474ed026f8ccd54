"""Reads request bodies within a size, a total and a time, so that slow or large clients cannot shut others out."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

from starlette.requests import Request

from mmssr_jax.serving.api_error import ApiError, too_busy

_BODIES_AT_ONCE = 8  # largest bodies that may be in memory together


class BodyReader:
    """Reads bodies; use one for all requests of a server.

    What counts against the total are the bytes that have arrived, not the requests: any number of clients that send
    nothing leaves room for the others.

    Args:
      max_bytes: maximum size of one body.
      timeout_s: maximum time from the headers to the end of the body.
    """

    def __init__(self, *, max_bytes: int, timeout_s: float):
        self._max_bytes, self._timeout_s = max_bytes, timeout_s
        self._held = 0

    @contextlib.asynccontextmanager
    async def read(self, request: Request) -> AsyncIterator[bytes]:
        """Yields the body; its bytes count against the total until the `async with` block ends.

        Raises:
          ApiError: 413 where it is larger than `max_bytes` whatever its header says, 408 after the timeout, 429 where
            the bodies that are being read are too large together.
        """
        body = bytearray()
        try:
            try:
                async with asyncio.timeout(self._timeout_s):
                    async for part in request.stream():
                        self._held += len(part)
                        body += part
                        self._check(len(body))
            except TimeoutError:
                raise ApiError(408, f"the request's body did not arrive within {self._timeout_s:g} s", code="timeout",
                               headers={"Connection": "close"}) from None  # fmt: skip
            yield bytes(body)
        finally:
            self._held -= len(body)

    def _check(self, size: int) -> None:
        if size > self._max_bytes:
            raise ApiError(413, f"the request is larger than {self._max_bytes >> 20} MiB", code="request_too_large",
                           headers={"Connection": "close"})  # fmt: skip
        if self._held > _BODIES_AT_ONCE * self._max_bytes:
            raise too_busy()
