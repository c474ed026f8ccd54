import collections
import json
import random

import pytest

from mmssr_jax.core.config import to_dataclass
from mmssr_jax.core.errors import UserError
from mmssr_jax.core.progress import Progress
from mmssr_jax.judge.api.batch_judge import BatchJudge
from mmssr_jax.judge.api.config import ApiConfig
from mmssr_jax.judge.api.retry import TRANSIENT
from mmssr_jax.judge.base import Request
from mmssr_jax.judge.ledger import Ledger, read_ledger
from mmssr_jax.judge.parse_answer import read_ratings
from mmssr_jax.judge.rubric import Rubric
from tests.judge.api_server import ApiServer, Reply, completion, error, good, rating
from tests.judge.batch_server import Batches
from tests.judge.conftest import KEY, lookup


class Killed(BaseException):
    """What a kill looks like from inside: nothing after it runs but what no process can prevent."""


class Bench:
    def __init__(self, folder, service, *, sleep=lambda s: None, samples=lookup, **settings):
        self.path, self.service, self.sleep, self.samples = folder / "ledger.jsonl", service, sleep, samples
        self.settings = {"model": "gpt-4o", "api_key_env": "TEST_API_KEY", **settings}

    def run(self, numbers):
        with ApiServer(batch=self.service) as server, Ledger(self.path, ask_again=TRANSIENT) as ledger:
            config = to_dataclass(ApiConfig, {**self.settings, "base_url": server.url}, "config.judge.api")
            judge = BatchJudge(config, Rubric(), self.samples, origin="a test", sleep=self.sleep)
            self.name, self.hash = judge.name, judge.prompt_hash
            wanted = [Request(f"s{n}") for n in numbers]
            missing = [r for r in wanted if (judge.name, judge.prompt_hash, r.id, 0) not in ledger.settled]
            judge.judge(missing, ledger, Progress("judge", len(missing)))

    @property
    def entries(self):
        return list(read_ledger(self.path))

    def story(self, number=0):
        return [(e.outcome, e.reason) for e in self.entries if e.id == f"s{number}"]

    def check(self, n, skipped=()):
        """Each sample exactly once, rated as the service rates it."""
        settled = collections.Counter(e.id for e in self.entries if e.outcome in ("ok", "skip"))
        assert settled == {f"s{i}": 1 for i in range(n)}
        ratings = read_ratings(self.path, {(self.name, self.hash, f"s{i}", 0) for i in range(n)}, Rubric())
        found = {k[2]: v.scores for k, v in ratings.judgments.items()}
        assert found == {f"s{i}": tuple(rating(i).values())[:14] for i in range(n) if i not in skipped}


@pytest.fixture
def bench(tmp_path, key):
    return lambda service, **kw: Bench(tmp_path, service, **kw)


def test_one_batch(bench):
    service = Batches(polls=3)
    b = bench(service)
    b.run(range(30))
    b.check(30)
    assert service.sizes == [30]
    assert b.entries[0].cost == pytest.approx((500 * 2.5 + 1000 * 1.25 + 130 * 10) / 1e6 / 2)
    assert not list(b.path.parent.glob(".batch-*"))
    assert service.keys == {f"Bearer {KEY}"}
    assert KEY not in "".join(p.read_text() for p in b.path.parent.iterdir())


def test_files_stay_within_both_limits(bench):
    service = Batches()
    b = bench(service, batch={"max_requests": 12, "max_open": 2})
    b.run(range(40))
    b.check(40)
    assert service.sizes == [12, 12, 12, 4]

    size = len(service.files["file-0"]) // 12
    small = Batches()
    c = bench(small, batch={"max_bytes": 5 * size + 200}, seed=1)
    c.run(range(11))
    assert small.sizes == [5, 5, 1]


def misbehaving(call):
    rng = random.Random(f"{call.number}-{call.before}")
    if call.number % 50 == 7:
        return Reply(body=completion(None, refusal="no"))
    if call.before > 1 or call.is_repair or rng.random() > 0.3:
        return good(call)
    if call.before == 0 and call.number % 4 == 0:
        return rng.choice([Reply(body=completion("{")), Reply(body=completion("{", finish="length"))])
    return rng.choice(
        [error(500, None, "oops"), error(429, "rate_limit_exceeded", "slow"), Reply(body={"no": "completion"})]
    )


def test_a_thousand_samples_with_lines_that_fail(bench):
    service = Batches(misbehaving, answered=170)
    b = bench(service, batch={"max_requests": 200, "max_open": 3})
    b.run(range(1000))
    b.check(1000, skipped=range(7, 1000, 50))
    seen = {e.reason for e in b.entries}
    assert seen == {"", "refusal", "invalid", "length", "server_error", "expired"}


def test_an_expired_batch_is_completed_by_the_next(bench):
    service = Batches(answered=10)
    b = bench(service)
    b.run(range(25))
    b.check(25)
    assert service.sizes == [25, 15, 5]
    assert service.asked == dict.fromkeys(range(25), 1)


def test_repairs_and_room_come_with_the_next_batch(bench):
    def script(call):
        if call.before == 0:
            return Reply(body=completion("{", finish="length")) if call.number else Reply(body=completion("nonsense"))
        assert call.is_repair if call.number == 0 else call.room == 1600
        return good(call)

    b = bench(Batches(script))
    b.run([0, 1])
    assert b.story(0) == [("retry", "invalid"), ("ok", "")]
    assert b.story(1) == [("retry", "length"), ("ok", "")]


def test_plain_json_where_schemas_are_not_known(bench):
    refusal = error(400, None, "x", param="response_format")
    service = Batches(lambda c: refusal if c.body.get("response_format", {}).get("type") == "json_schema" else good(c))
    b = bench(service)
    b.run(range(3))
    b.check(3)
    assert {e.mode for e in b.entries if e.outcome == "ok"} == {"json_object"}


# --- restarts


def killed_after(n):
    """A sleep during which the process dies, the nth time."""
    count = 0

    def sleep(seconds):
        nonlocal count
        count += 1
        if count == n:
            raise Killed

    return sleep


def test_a_restarted_run_collects_what_is_on_its_way(bench):
    service = Batches(polls=2)
    with pytest.raises(Killed):
        bench(service, sleep=killed_after(1)).run(range(20))
    b = bench(service)
    b.run(range(20))
    b.check(20)
    assert len(service.batches) == 1


def test_killed_between_upload_and_creation(bench, monkeypatch):
    """The batch exists, but its id was never written down: it is found by its metadata."""
    from mmssr_jax.judge.api.batch_journal import BatchJournal

    service = Batches()

    def die(self, part):
        raise Killed

    with monkeypatch.context() as m:
        m.setattr(BatchJournal, "created", die)
        with pytest.raises(Killed):
            bench(service).run(range(5))
    b = bench(service)
    b.run(range(5))
    b.check(5)
    assert len(service.batches) == len(service.sizes) == 1


def test_killed_while_collecting(bench, monkeypatch):
    service = Batches(misbehaving)
    real, left = Ledger.append, 40

    def append(self, entry):
        nonlocal left
        left -= 1
        if left == 0:
            raise Killed
        real(self, entry)

    with monkeypatch.context() as m:
        m.setattr(Ledger, "append", append)
        with pytest.raises(Killed):
            bench(service).run(range(100))
    b = bench(service)
    before = len(b.entries)
    b.run(range(100))
    b.check(100, skipped=(7, 57))
    ids = [e.request_id for e in b.entries if e.request_id]
    assert before == 39
    assert len(ids) == len(set(ids))


def test_a_torn_journal_line(bench):
    service = Batches(polls=2)
    with pytest.raises(Killed):
        bench(service, sleep=killed_after(1)).run(range(4))
    b = bench(service)
    with open(b.path.parent / "batches.jsonl", "ab") as f:
        f.write(b'{"event": "fin')
    b.run(range(4))
    b.check(4)
    assert len(service.batches) == 1


def test_a_lost_answer_to_the_creation(bench):
    """The batch is there although nobody was told: it is found, and not made and paid for twice."""
    service = Batches(lose=2)
    b = bench(service)
    b.run(range(6))
    b.check(6)
    assert len(service.batches) == 1


# --- the ends of a run


@pytest.mark.parametrize(
    ("service", "says"),
    [
        (Batches(status=[("failed", "model_not_found")]), "batch_failed.*it is model_not_found"),
        (Batches(status=[("failed", "token_limit_exceeded")]), "lower batch.max_requests"),
        (Batches(status=["cancelled"], answered=2), "was cancelled"),
        (Batches(lambda c: error(429, "insufficient_quota", "no credit")), "add credit"),
        (Batches(lambda c: error(401, None, f"bad {KEY}")), "bad_key"),
    ],
)
def test_the_run_stops_with_one_line(bench, service, says):
    with pytest.raises(UserError, match=says) as e:
        bench(service).run(range(5))
    assert "\n" not in str(e.value)
    assert KEY not in str(e.value)


def test_a_cancelled_batch_keeps_what_it_answered(bench):
    service = Batches(status=["cancelled"], answered=2)
    with pytest.raises(UserError, match="was cancelled"):
        bench(service).run(range(5))
    service.answered = None
    b = bench(service)
    b.run(range(5))
    b.check(5)
    assert service.sizes == [5, 3]


def test_a_full_queue_waits_for_others(bench):
    service = Batches(status=[None, ("failed", "token_limit_exceeded")])
    b = bench(service, batch={"max_requests": 10})
    b.run(range(30))
    b.check(30)
    assert service.sizes == [10, 10, 10, 10]


@pytest.mark.parametrize("limit", [{"max_usd": 0.1}, {"max_requests": 12}])
def test_caps(bench, limit):
    service = Batches()
    with pytest.raises(UserError, match="cap of"):
        bench(service, limits=limit).run(range(200))
    b = bench(service)
    if "max_usd" in limit:
        assert 0.09 < sum(e.cost for e in b.entries) <= 0.1
    else:
        assert len(b.entries) == 12
    b.run(range(200))
    b.check(200)


def test_samples_that_cannot_be_sent(bench):
    service = Batches()
    b = bench(service, prompt={"max_chars": 5})
    b.run(range(3))
    assert b.story() == [("skip", "too_long")]
    assert not service.sizes


def test_a_service_that_is_not_there(bench, tmp_path):
    b = bench(Batches(), limits={"max_attempts": 1})
    b.service.handle = lambda *a: Reply(404, {"error": {"message": "no such path"}})
    with pytest.raises(UserError, match=r"wrong_model.*no such path"):
        b.run([0])


def test_lines_nobody_asked_for_are_left_aside(bench, caplog):
    class Odd(Batches):
        def _end(self, batch):
            super()._end(batch)
            name = batch["output_file_id"]
            self.files[name] += b"not json\n[1]\n" + json.dumps({"custom_id": "99", "response": None}).encode() + b"\n"

    b = bench(Odd())
    b.run(range(3))
    b.check(3)
    assert "'99', which was not requested" in caplog.text
