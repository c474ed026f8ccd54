"""The serve stage under honest, slow and oversized clients at once; one JSON line.

    python benchmarks/serve_load.py --clients=200 --slow=100

Honest clients ask one short question each and come again after a 429. Slow ones send a byte of their body (half of
them: of their headers) every second until they are cut off, and connect anew. One sends a text of `mib` MiB after
another. All begin together; the server runs in another process, with the model that ships with the package.

    health_s       the longest answer of /health meanwhile, asked for every 0.1 s (target: <= 1)
    answered       honest requests with an answer (target: all)
    refused        429 answers before those
    oversized      statuses of the oversized requests
    seconds        until the last honest answer
    rss_mib        resident memory of the server before, at most during, and after
"""

from __future__ import annotations

import asyncio
import collections
import contextlib
import json
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from absl import app, flags

ROOT = Path(__file__).resolve().parents[1]

_CLIENTS = flags.DEFINE_integer("clients", 200, "honest clients", lower_bound=1)
_SLOW = flags.DEFINE_integer("slow", 100, "slow clients", lower_bound=0)
_MIB = flags.DEFINE_integer("mib", 30, "size of the oversized text", lower_bound=1)
_RETRY_S = 1.0  # an honest client comes again sooner than the server asks for, which is harder on the server


class Load:
    """The clients of one server and what they saw."""

    def __init__(self, host: str, port: int, process: int):
        self._host, self._port, self._process = host, port, process
        self.health_s, self.rss_mib = 0.0, self.memory()
        self.answered = self.refused = 0
        self.oversized: collections.Counter[int] = collections.Counter()

    def memory(self) -> int:
        """The server's resident memory in MiB (Linux)."""
        status = Path(f"/proc/{self._process}/status").read_text()
        return int(re.search(r"VmRSS:\s+(\d+)", status)[1]) >> 10  # type: ignore[index]

    async def request(self, method: str, path: str, body: bytes = b"") -> int:
        """The status of the answer; 0 where the connection ended without one."""
        reader, writer = await asyncio.open_connection(self._host, self._port)
        try:
            writer.write(f"{method} {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n".encode())
            writer.write(b"Connection: close\r\n\r\n" + body)
            with contextlib.suppress(ConnectionError):
                await writer.drain()
            answer = await reader.read()
            return int(answer.split(b" ", 2)[1]) if answer else 0
        finally:
            writer.close()

    async def honest(self, number: int) -> None:
        body = _chat(f"How much is {number} + 1?")
        while (status := await self.request("POST", "/v1/chat/completions", body)) == 429:
            self.refused += 1
            await asyncio.sleep(_RETRY_S)
        self.answered += status == 200

    async def slow(self, number: int) -> None:
        head = b"POST /v1/chat/completions HTTP/1.1\r\n" + (b"Content-Length: 9999\r\n\r\n" if number % 2 else b"X: ")
        while True:
            with contextlib.suppress(ConnectionError):
                _, writer = await asyncio.open_connection(self._host, self._port)
                writer.write(head)
                while not writer.is_closing():
                    writer.write(b" ")
                    await writer.drain()
                    await asyncio.sleep(1)

    async def oversize(self) -> None:
        body = _chat("a" * (_MIB.value << 20))
        while True:
            with contextlib.suppress(ConnectionError):
                self.oversized[await self.request("POST", "/v1/chat/completions", body)] += 1

    async def watch(self) -> None:
        while True:
            begin = time.monotonic()
            assert await self.request("GET", "/health") == 200
            self.health_s = max(self.health_s, time.monotonic() - begin)
            self.rss_mib = max(self.rss_mib, self.memory())
            await asyncio.sleep(0.1)


def _chat(text: str) -> bytes:
    return json.dumps({"model": "base", "max_tokens": 16, "messages": [{"role": "user", "content": text}]}).encode()


async def measure(load: Load) -> dict[str, Any]:
    """Runs all clients until the honest ones have ended."""
    before = load.memory()
    others = [load.watch(), load.oversize(), *(load.slow(n) for n in range(_SLOW.value))]
    tasks = [asyncio.create_task(c) for c in others]
    begin = time.monotonic()
    await asyncio.gather(*(load.honest(n) for n in range(_CLIENTS.value)))
    seconds = time.monotonic() - begin
    assert not tasks[0].done(), "a /health request failed"
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await asyncio.sleep(2)
    return {
        "clients": _CLIENTS.value, "slow": _SLOW.value, "health_s": round(load.health_s, 3), "answered": load.answered,
        "refused": load.refused, "oversized": dict(load.oversized), "seconds": round(seconds, 1),
        "rss_mib": [before, load.rss_mib, load.memory()],
    }  # fmt: skip


def main(_: list[str]) -> None:
    with tempfile.TemporaryDirectory() as workdir:
        command = [
            sys.executable, "-m", "mmssr_jax.main", f"--config={ROOT}/configs/serve.py", f"--workdir={workdir}",
            "--config.serve.port=0",
        ]  # fmt: skip
        server = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True)
        try:
            assert server.stderr is not None
            address = next(m for line in server.stderr if (m := re.search(r"http://([\d.]+):(\d+)/v1", line)))
            drained = subprocess.Popen(["cat"], stdin=server.stderr, stdout=subprocess.DEVNULL)
            print(json.dumps(asyncio.run(measure(Load(address[1], int(address[2]), server.pid)))))
            drained.kill()
        finally:
            server.kill()
            server.wait()


if __name__ == "__main__":
    app.run(main)
