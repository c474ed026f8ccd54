"""Prepares requests in threads shortly before they are sent.

A switch between a thread and the event loop costs about as much as preparing a text sample, so each call into a thread
does a few milliseconds of work: sixteen short texts, or one image.
"""

from __future__ import annotations

import asyncio
import collections
import os
import threading
import time
from collections.abc import Iterable

from mmssr_jax.judge.api.requests import PreparedRequest, RequestBuilder
from mmssr_jax.judge.api.retry import SampleError
from mmssr_jax.judge.base import Request

_CHUNK_S, _CHUNK = 0.005, 16

Ready = tuple[Request, PreparedRequest | SampleError]


class Prefetch:
    """Yields prepared requests, or the error of a sample that cannot be sent."""

    def __init__(self, builder: RequestBuilder, queue: Iterable[Request]):
        self._builder, self._queue = builder, iter(queue)
        self._reading = threading.Lock()
        self._preparing = asyncio.Semaphore(os.cpu_count() or 1)
        self._ready: collections.deque[Ready] = collections.deque()

    async def next(self) -> Ready | None:
        """The next request; None at the end."""
        while not self._ready:
            async with self._preparing:
                if not self._ready:
                    chunk = await asyncio.to_thread(self._prepare_chunk)
                    if not chunk:
                        return None
                    self._ready += chunk
        return self._ready.popleft()

    def _prepare_chunk(self) -> list[Ready]:
        chunk: list[Ready] = []
        start = time.monotonic()
        while len(chunk) < _CHUNK and time.monotonic() - start < _CHUNK_S:
            with self._reading:
                request = next(self._queue, None)
            if request is None:
                break
            try:
                chunk.append((request, self._builder.prepare(request.id)))
            except SampleError as e:
                chunk.append((request, e))
        return chunk
