"""An HTTP connection that closes when its client does not send a request or does not read its answer.

    connected ──headers of a request──> answering ──answer sent──> waiting for the next request
        └── header_timeout_s ─> closed      └── send_timeout_s without reading ─> closed

uvicorn itself bounds only the pause after an answer, and a client that sends a byte now and then ends that one. The
body's timeout is in `serving.body`.
"""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol


class TimedProtocol(H11Protocol):
    """uvicorn's protocol with two timeouts.

    Args:
      header_timeout_s: from the connection, or the end of an answer, to the end of a request's headers.
      send_timeout_s: how long an answer may wait for its client to read.
    """

    def __init__(self, *args: Any, header_timeout_s: float, send_timeout_s: float, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self._header_timeout_s, self._send_timeout_s = header_timeout_s, send_timeout_s
        self._no_headers: asyncio.TimerHandle | None = None
        self._not_reading: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._await_headers()

    def connection_lost(self, exc: Exception | None) -> None:
        _cancel(self._no_headers)
        _cancel(self._not_reading)
        super().connection_lost(exc)

    def handle_events(self) -> None:
        super().handle_events()
        if self.cycle is not None and not self.cycle.response_complete:
            _cancel(self._no_headers)

    def on_response_complete(self) -> None:
        self._await_headers()
        super().on_response_complete()

    def pause_writing(self) -> None:
        super().pause_writing()
        _cancel(self._not_reading)
        self._not_reading = self.loop.call_later(self._send_timeout_s, self.transport.abort)

    def resume_writing(self) -> None:
        _cancel(self._not_reading)
        super().resume_writing()

    def _await_headers(self) -> None:
        _cancel(self._no_headers)
        self._no_headers = self.loop.call_later(self._header_timeout_s, self.transport.abort)


def _cancel(timer: asyncio.TimerHandle | None) -> None:
    if timer is not None:
        timer.cancel()
