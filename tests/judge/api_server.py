"""A local server that speaks the OpenAI API on a real socket and misbehaves according to a script.

    with ApiServer(script) as server:          # a thread with its own event loop
        ... base_url=server.url ...
    server.calls                               # the requests, in order

A script is a function from a `Call` to a `Reply`; `good` answers as the real service does. The samples' questions hold
"#17" so that the server knows which sample a request is about.
"""

from __future__ import annotations

import asyncio
import collections
import dataclasses
import json
import re
import threading
import time
from collections.abc import Callable
from typing import Any

_NUMBER = re.compile(r"#(\d+)")
STATUS = {200: "OK", 302: "Found", 429: "Too Many Requests"}


@dataclasses.dataclass(frozen=True)
class Call:
    """One chat completion request: the sample's number, the number of earlier requests for it, body and headers."""

    number: int
    before: int
    body: dict[str, Any]
    headers: dict[str, str]

    @property
    def is_repair(self) -> bool:
        return len(self.body["messages"]) > 2

    @property
    def room(self) -> int:
        return self.body.get("max_completion_tokens") or self.body["max_tokens"]


@dataclasses.dataclass(frozen=True)
class Reply:
    """A response; it is sent after `hang` seconds, and the connection is closed after `drop` bytes."""

    status: int = 200
    body: Any = None
    headers: dict[str, str] = dataclasses.field(default_factory=dict)
    hang: float = 0.0
    drop: int | None = None


Script = Callable[[Call], Reply]


def rating(number: int) -> dict[str, Any]:
    """The answer to a sample: a function of its number alone, so that results can be checked."""
    from mmssr_jax.core.vocabulary import SLUGS, STYLES

    scores = {slug: (number + k) % 6 for k, slug in enumerate(SLUGS)}
    return {**scores, "styles": [STYLES[number % len(STYLES)]]}


def completion(
    content: str | None, *, finish: str = "stop", refusal: str | None = None, usage: Any = ...
) -> dict[str, Any]:
    """A chat completion as the service sends it."""
    counts = {"prompt_tokens": 1500, "completion_tokens": 130, "prompt_tokens_details": {"cached_tokens": 1000}}
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": "gpt-4o-2024-11-20",
        "system_fingerprint": "fp_1",
        "choices": [
            {
                "index": 0,
                "finish_reason": finish,
                "logprobs": None,
                "message": {"role": "assistant", "content": content, "refusal": refusal},
            }
        ],
        "usage": counts if usage is ... else usage,
    }


def good(call: Call) -> Reply:
    return Reply(body=completion(json.dumps(rating(call.number))))


def error(status: int, code: str | None, message: str, *, param: str | None = None, **headers: str) -> Reply:
    """An error as the service sends it."""
    body = {"error": {"message": message, "type": "some_error", "param": param, "code": code}}
    return Reply(status, body, {k.replace("_", "-"): v for k, v in headers.items()})


class RateLimit:
    """At most `per_minute` requests in any minute of `minute` seconds; states its limits in headers, or does not."""

    def __init__(
        self, per_minute: int, *, minute: float = 60.0, script: Script = good, headers: bool = True,
        now: Callable[[], float] = time.monotonic,
    ):  # fmt: skip
        self.per_minute, self.minute, self.script, self.headers, self.now = per_minute, minute, script, headers, now
        self.accepted: collections.deque[float] = collections.deque()
        self.refused = 0
        self.times: list[float] = []

    def __call__(self, call: Call) -> Reply:
        now = self.now()
        while self.accepted and self.accepted[0] <= now - self.minute:
            self.accepted.popleft()
        left = self.per_minute - len(self.accepted)
        stated = {
            "x-ratelimit-limit-requests": str(self.per_minute),
            "x-ratelimit-remaining-requests": str(max(0, left - 1)),
            "x-ratelimit-reset-requests": "1s",
        }
        if left <= 0:
            self.refused += 1
            wait = (self.accepted[0] + self.minute - now) * 60 / self.minute
            headers = {"retry-after-ms": str(int(wait * 1000) + 1), **(stated if self.headers else {})}
            return Reply(429, {"error": {"message": "slow down", "code": "rate_limit_exceeded"}}, headers)
        self.accepted.append(now)
        self.times.append(now)
        reply = self.script(call)
        return dataclasses.replace(reply, headers={**reply.headers, **stated} if self.headers else reply.headers)


class ApiServer:
    """The server; see the module."""

    def __init__(self, script: Script = good, *, keep_calls: bool = True, batch: Any = None):
        self.script, self._keep, self.batch = script, keep_calls, batch
        self.calls: list[Call] = []
        self.asked: collections.Counter[int] = collections.Counter()
        self.in_flight = self.most_in_flight = 0
        self._started = threading.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    def __enter__(self) -> ApiServer:
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), daemon=True)
        self._thread.start()
        assert self._started.wait(10)
        return self

    def __exit__(self, *exc: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(10)

    async def _serve(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        self._connections: set[asyncio.Task[None]] = set()
        server = await asyncio.start_server(self._connection, "127.0.0.1", 0, limit=2**20)
        self.port = server.sockets[0].getsockname()[1]
        self._started.set()
        await self._stop.wait()
        server.close()
        for task in self._connections:
            task.cancel()

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        try:
            while (request := await self._read(reader)) is not None:
                if not await self._write(writer, await self._answer(*request)):
                    break
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            self._connections.discard(task)
            writer.close()

    async def _read(self, reader: asyncio.StreamReader) -> tuple[str, str, dict[str, str], bytes] | None:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
        except asyncio.IncompleteReadError:
            return None
        first, *lines = head.decode("latin-1").rstrip().split("\r\n")
        method, path, _ = first.split(" ")
        headers = {k.strip().lower(): v.strip() for k, _, v in (line.partition(":") for line in lines)}
        if headers.get("transfer-encoding") == "chunked":
            return method, path, headers, await self._chunks(reader)
        return method, path, headers, await reader.readexactly(int(headers.get("content-length", 0)))

    async def _chunks(self, reader: asyncio.StreamReader) -> bytes:
        parts = []
        while size := int(await reader.readline(), 16):
            parts.append(await reader.readexactly(size))
            await reader.readline()
        await reader.readline()
        return b"".join(parts)

    async def _answer(self, method: str, path: str, headers: dict[str, str], body: bytes) -> Reply:
        if path != "/v1/chat/completions":
            return self.batch.handle(method, path, headers, body) if self.batch else Reply(404, {"error": {}})
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            reply = self._chat(json.loads(body), headers)
            if reply.hang:
                await asyncio.sleep(reply.hang)
            return reply
        finally:
            self.in_flight -= 1

    def _chat(self, body: dict[str, Any], headers: dict[str, str]) -> Reply:
        found = _NUMBER.search(json.dumps(body["messages"][1]))
        number = int(found[1]) if found else -1
        call = Call(number, self.asked[number], body, headers)
        self.asked[number] += 1
        if self._keep:
            self.calls.append(call)
        return self.script(call)

    async def _write(self, writer: asyncio.StreamWriter, reply: Reply) -> bool:
        content = reply.body if isinstance(reply.body, bytes) else json.dumps(reply.body).encode()
        head = {"content-type": "application/json", "content-length": str(len(content)), **reply.headers}
        lines = [
            f"HTTP/1.1 {reply.status} {STATUS.get(reply.status, 'Status')}",
            *(f"{k}: {v}" for k, v in head.items()),
        ]
        data = ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1") + content
        writer.write(data if reply.drop is None else data[: reply.drop])
        await writer.drain()
        return reply.drop is None
