"""Speed of the live judge, against a local server in another process; one JSON line.

    python benchmarks/judge.py --samples=100000        # overhead: a server that answers immediately
    python benchmarks/judge.py --per_minute=3000       # rate limiting: a server with this limit

Overhead: the judge rates `samples` text samples; before and after it a bare loop of the same client sends a twentieth
of the same requests with the same number in flight, and ignores the answers.

    judge_per_s, bare_per_s, ratio      requests per second, and the first over the second (target: >= 0.8)
    rss_mib                             memory of this process after a tenth, a half and all of the samples

Rate limiting: in real time, without the first `warm_up_s` seconds. With --noheaders the server does not state its limit
and only refuses requests.

    used                                accepted requests over the limit (target: >= 0.95)
    refused                             429 answers over all answers, including the warm-up (target: < 0.02)
"""

from __future__ import annotations

import asyncio
import json
import logging as py_logging
import multiprocessing
import os
import sys
import tempfile
import time
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from absl import app, flags

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # the server lies in tests/

from mmssr_jax.core.progress import Progress  # noqa: E402
from mmssr_jax.core.sample import Sample, Turn  # noqa: E402
from mmssr_jax.judge.api.config import ApiConfig, LimitsConfig  # noqa: E402
from mmssr_jax.judge.api.live import LiveJudge, make_client  # noqa: E402
from mmssr_jax.judge.api.requests import RequestBuilder  # noqa: E402
from mmssr_jax.judge.api.retry import RetryAdjustments  # noqa: E402
from mmssr_jax.judge.base import Request  # noqa: E402
from mmssr_jax.judge.ledger import Ledger  # noqa: E402
from mmssr_jax.judge.rubric import Rubric  # noqa: E402

_SAMPLES = flags.DEFINE_integer("samples", 100_000, "samples of the overhead measurement", lower_bound=100)
_CONCURRENCY = flags.DEFINE_integer("concurrency", 64, "requests in flight", lower_bound=1)
_PER_MINUTE = flags.DEFINE_integer("per_minute", None, "measure rate limiting against this limit instead")
_SECONDS = flags.DEFINE_integer("seconds", 150, "of the rate limit measurement, including warm-up")
_WARM_UP_S = flags.DEFINE_integer("warm_up_s", 60, "of the rate limit measurement")
_HEADERS = flags.DEFINE_bool("headers", True, "the server states its limit in headers")


def serve(pipe: Connection, per_minute: int | None, headers: bool) -> None:
    """The server's process: sends its address, waits for a message, sends its counts."""
    from tests.judge.api_server import ApiServer, RateLimit, good

    script = RateLimit(per_minute, headers=headers) if per_minute else good
    with ApiServer(script, keep_calls=False) as server:
        pipe.send(server.url)
        pipe.recv()
        pipe.send((script.times, script.refused) if isinstance(script, RateLimit) else None)


def lookup(sample_id: str) -> Sample:
    """A text sample of the usual length."""
    question = f"What is shown in picture #{sample_id[1:]}? " + "Answer with one word and say why. " * 5
    return Sample(
        sample_id, "bench", (Turn("user", question), Turn("assistant", "A lighthouse, as its lamp shows. " * 5))
    )


def memory_mib() -> float:
    """Resident memory of this process."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


class MemoryProgress(Progress):
    """Records memory after a tenth, a half and all of the work."""

    def __init__(self, total: int):
        super().__init__("judge", total, "ratings", every=1e9)
        self.marks = {total // 10: 0.0, total // 2: 0.0, total: 0.0}

    def add(self, count: int = 1, note: str = "") -> None:
        super().add(count, note)
        if self.done in self.marks:
            self.marks[self.done] = round(memory_mib(), 1)


async def bare_loop(config: ApiConfig, numbers: range) -> float:
    """Requests per second of the client alone."""
    builder = RequestBuilder(config, Rubric(), lookup)
    queue = iter([builder.body(builder.prepare(f"s{i}"), "json_schema", RetryAdjustments()) for i in numbers])
    async with make_client(config, None) as client:

        async def work() -> None:
            for body in queue:
                await client.chat.completions.create(**body)

        start = time.monotonic()
        await asyncio.gather(*(work() for _ in range(config.limits.concurrency)))
        return len(numbers) / (time.monotonic() - start)


def judge(config: ApiConfig, folder: Path, count: int, progress: Progress) -> float:
    """Requests per second of the judge, including its ledger."""
    with Ledger(folder / "ledger.jsonl") as ledger:
        start = time.monotonic()
        judge = LiveJudge(config, Rubric(), lookup, origin="the benchmark")
        judge.judge([Request(f"s{i}") for i in range(count)], ledger, progress)
    return count / (time.monotonic() - start)


def overhead(config: ApiConfig, folder: Path) -> dict[str, Any]:
    """The first measurement of the module."""
    count = _SAMPLES.value
    before = asyncio.run(bare_loop(config, range(count // 20)))
    progress = MemoryProgress(count)
    judge_rate = judge(config, folder, count, progress)
    after = asyncio.run(bare_loop(config, range(count // 20)))
    bare = (before + after) / 2
    return {
        "samples": count,
        "concurrency": config.limits.concurrency,
        "judge_per_s": round(judge_rate, 1),
        "bare_per_s": [round(before, 1), round(after, 1)],
        "ratio": round(judge_rate / bare, 3),
        "rss_mib": list(progress.marks.values()),
    }


def rate_limiting(config: ApiConfig, folder: Path, pipe: Connection, per_minute: int) -> dict[str, Any]:
    """The second measurement of the module."""
    judge(config, folder, round(per_minute * _SECONDS.value / 60), Progress("judge", 0, every=1e9))
    pipe.send("report")
    times, refused = pipe.recv()
    counted = [t for t in times if t >= times[0] + _WARM_UP_S.value]
    rate = (len(counted) - 1) / (counted[-1] - counted[0]) * 60
    return {
        "per_minute": per_minute,
        "headers": _HEADERS.value,
        "seconds": round(times[-1] - times[0], 1),
        "warm_up_s": _WARM_UP_S.value,
        "used": round(rate / per_minute, 4),
        "refused": round(refused / (refused + len(times)), 4),
    }


def main(_: list[str]) -> None:
    py_logging.disable(py_logging.INFO)
    pipe, other = multiprocessing.Pipe()
    server = multiprocessing.get_context("spawn").Process(
        target=serve, args=(other, _PER_MINUTE.value, _HEADERS.value), daemon=True
    )
    server.start()
    config = ApiConfig("gpt-4o", base_url=pipe.recv(), limits=LimitsConfig(concurrency=_CONCURRENCY.value))
    with tempfile.TemporaryDirectory() as folder:
        if _PER_MINUTE.value:
            result = rate_limiting(config, Path(folder), pipe, _PER_MINUTE.value)
        else:
            result = overhead(config, Path(folder))
            pipe.send("end")
    server.join(10)
    print(json.dumps(result))


if __name__ == "__main__":
    app.run(main)
