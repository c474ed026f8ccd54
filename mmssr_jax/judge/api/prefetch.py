"""Requests, prepared in threads a little ahead of their sending.

A hand-over between a thread and the event loop costs about as much as preparing a text sample, so each one does a few
milliseconds of work: sixteen short texts, or one picture.
"""

from __future__ import annotations

import asyncio
import collections
import os
import threading
import time
from collections.abc import Iterable

from mmssr_jax.judge.api.requests import Prepared, Requests
from mmssr_jax.judge.api.retry import SampleError
from mmssr_jax.judge.base import Request

_AT_ONCE_S, _AT_ONCE = 0.005, 16

Ready = tuple[Request, Prepared | SampleError]


class Prefetch:
    """Hands out prepared requests, or why a sample cannot be sent."""

    def __init__(self, requests: Requests, queue: Iterable[Request]):
        self._requests, self._queue = requests, iter(queue)
        self._taking = threading.Lock()
        self._preparing = asyncio.Semaphore(os.cpu_count() or 1)
        self._ready: collections.deque[Ready] = collections.deque()

    async def next(self) -> Ready | None:
        """The next request; None where there is none left."""
        while not self._ready:
            async with self._preparing:
                if not self._ready:
                    some = await asyncio.to_thread(self._prepare_some)
                    if not some:
                        return None
                    self._ready += some
        return self._ready.popleft()

    def _prepare_some(self) -> list[Ready]:
        some: list[Ready] = []
        start = time.monotonic()
        while len(some) < _AT_ONCE and time.monotonic() - start < _AT_ONCE_S:
            with self._taking:
                request = next(self._queue, None)
            if request is None:
                break
            try:
                some.append((request, self._requests.prepare(request.id)))
            except SampleError as e:
                some.append((request, e))
        return some
