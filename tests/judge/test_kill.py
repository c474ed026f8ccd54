"""A live run that is killed twenty times, at random moments, and then completed."""

import os
import random
import signal
import subprocess
import sys
import time

import pytest

from mmssr_jax.judge.ledger import read_ledger
from tests.judge.api.test_live import check_ratings, misbehaving
from tests.judge.api_server import ApiServer, Reply
from tests.judge.conftest import KEY

N, KILLS = 1000, 20

CHILD = """
import sys
from pathlib import Path
from mmssr_jax.core.config import to_dataclass
from mmssr_jax.core.progress import Progress
from mmssr_jax.judge.api.config import ApiConfig
from mmssr_jax.judge.base import Request
from mmssr_jax.judge.ledger import Ledger
from mmssr_jax.judge.api.live import LiveJudge
from mmssr_jax.judge.api.retry import TRANSIENT
from mmssr_jax.judge.rubric import Rubric
from tests.judge.conftest import FastClock, lookup

limits = {"timeout_s": 0.5, "concurrency": 32, "max_wait_s": 90_000}
settings = {"model": "gpt-4o", "api_key_env": "TEST_API_KEY", "base_url": sys.argv[1], "limits": limits}
config = to_dataclass(ApiConfig, settings, "api")
judge = LiveJudge(config, Rubric(), lookup, origin="a test", clock=FastClock(3000))
with Ledger(Path(sys.argv[2]), ask_again=TRANSIENT) as ledger:
    wanted = [Request(f"s{i}") for i in range(int(sys.argv[3]))]
    missing = [r for r in wanted if (judge.name, judge.prompt_hash, r.id, 0) not in ledger.settled]
    judge.judge(missing, ledger, Progress("judge", len(missing)))
print(judge.prompt_hash)
"""


def start(server, ledger, repo):
    command = [sys.executable, "-c", CHILD, server.url, str(ledger), str(N)]
    return subprocess.Popen(
        command, cwd=repo, env={**os.environ, "TEST_API_KEY": KEY}, stdout=subprocess.PIPE, text=True
    )


def settled(ledger):
    return {e.id for e in read_ledger(ledger) if e.outcome in ("ok", "skip")}


@pytest.mark.slow
def test_killed_twenty_times(tmp_path, repo):
    rng = random.Random(0)
    ledger = tmp_path / "ledger.jsonl"

    def script(call):
        reply = misbehaving(call)
        return Reply(reply.status, reply.body, reply.headers, reply.hang or 0.01, reply.drop)

    kills = 0
    with ApiServer(script) as server:
        while kills < KILLS:
            held, first = settled(ledger), len(server.calls)
            child = start(server, ledger, repo)
            while len(server.calls) == first and child.poll() is None:
                time.sleep(0.005)
            time.sleep(rng.uniform(0.0, 0.12))
            if child.poll() is not None:
                break  # it was faster than the kills
            child.send_signal(signal.SIGKILL)
            child.wait()
            kills += 1
            # nothing that the ledger held was asked for
            assert not {f"s{c.number}" for c in server.calls[first:]} & held
        held, first = settled(ledger), len(server.calls)
        child = start(server, ledger, repo)
        prompt_hash = child.communicate()[0].strip()
        assert child.returncode == 0
        assert not {f"s{c.number}" for c in server.calls[first:]} & held
    assert kills == KILLS
    check_ratings(ledger, "gpt-4o", prompt_hash, N)
    assert KEY not in ledger.read_text()
