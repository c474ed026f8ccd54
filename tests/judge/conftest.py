import asyncio
import time

import pytest

from mmssr_jax.core.config import to_dataclass
from mmssr_jax.core.progress import Progress
from mmssr_jax.core.sample import Sample, Turn
from mmssr_jax.judge.api.config import ApiConfig
from mmssr_jax.judge.api.live import LiveJudge
from mmssr_jax.judge.api.rate_limit import Clock
from mmssr_jax.judge.api.retry import ASKED_AGAIN
from mmssr_jax.judge.base import Request
from mmssr_jax.judge.ledger import Ledger, read_ledger
from mmssr_jax.judge.rubric import Rubric
from tests.judge.api_server import ApiServer, good

KEY = "sk-test-0123456789abcdef"


class FastClock(Clock):
    """Runs `factor` times as fast, so that waits of minutes take moments."""

    def __init__(self, factor=1000.0):
        self.factor = factor
        self.slept = []

    def now(self):
        return time.monotonic() * self.factor

    async def sleep(self, seconds):
        self.slept.append(seconds)
        await asyncio.sleep(seconds / self.factor)


def sample(number):
    return Sample(f"s{number}", "src", (Turn("user", f"What is in #{number}?"), Turn("assistant", "Nothing.")))


def lookup(sample_id):
    return sample(int(sample_id[1:]))


@pytest.fixture
def key(monkeypatch):
    monkeypatch.setenv("TEST_API_KEY", KEY)
    return KEY


class Bench:
    """A live judge against a scripted server, and what came of it."""

    def __init__(self, folder, script=good, *, clock=None, samples=lookup, **settings):
        self.ledger_path = folder / "ledger.jsonl"
        self.server = ApiServer(script)
        self.clock = clock or FastClock(100)
        self.settings = {"model": "gpt-4o", "api_key_env": "TEST_API_KEY", **settings}
        self.samples = samples

    def judge(self):
        config = to_dataclass(ApiConfig, {**self.settings, "base_url": self.server.url}, "config.judge.api")
        return LiveJudge(config, Rubric(), self.samples, origin="a test", clock=self.clock)

    def run(self, numbers):
        with self.server, Ledger(self.ledger_path, commit_every=0.01, ask_again=ASKED_AGAIN) as ledger:
            judge = self.judge()
            wanted = [Request(f"s{n}") for n in numbers]
            missing = [r for r in wanted if (judge.name, judge.prompt_hash, r.id, r.repeat) not in ledger.settled]
            judge.judge(missing, ledger, Progress("judge", len(missing)))

    @property
    def entries(self):
        return list(read_ledger(self.ledger_path))

    def story(self, number=0):
        """(outcome, reason) of every request about a sample."""
        return [(e.outcome, e.reason) for e in self.entries if e.id == f"s{number}"]


@pytest.fixture
def bench(tmp_path, key):
    return lambda *a, **kw: Bench(tmp_path, *a, **kw)
