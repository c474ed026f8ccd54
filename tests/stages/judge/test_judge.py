"""The judge stage with the oracle, recorded ratings, and a backend that is one more file."""

import collections
import logging as py_logging
import sys

import pytest

from mmssr_jax.core import files
from mmssr_jax.core.errors import UserError
from mmssr_jax.core.lock import Lock
from mmssr_jax.core.stage import StageContext
from mmssr_jax.core.tables import judgment_schema
from mmssr_jax.core.vocabulary import SLUGS
from mmssr_jax.core.workdir import Workdir
from mmssr_jax.judge import backends
from mmssr_jax.judge.ledger import Ledger, LedgerEntry, read_ledger
from mmssr_jax.stages import ingest
from mmssr_jax.stages.report import stage as report
from tests.stages.judge.conftest import outputs, recorded, run

ORACLE = {"backend": "oracle", "count": 20, "repeat_share": 0.5}


def test_oracle(workdir):
    run(workdir, ORACLE)
    table = files.read_parquet(workdir.judge / "judgments.parquet")
    assert table.schema == judgment_schema(SLUGS)
    assert table.num_rows == 20
    assert table["id"].to_pylist() == sorted(table["id"].to_pylist())  # the pool's order
    assert collections.Counter(table["source"].to_pylist())["small"] >= 4
    result = files.read_json(workdir.results("judge"))
    assert [(r["kind"], r["asked"], r["answered"]) for r in result["rounds"]] == [("vote", 20, 20), ("repeat", 10, 10)]
    assert result["agreement"][0]["samples"] == 10
    assert result["per_source"]["small"]["pool"] == 10


def test_same_command_again_does_nothing(workdir, caplog):
    run(workdir, ORACLE)
    before = outputs(workdir), (workdir.judge / "ledger.jsonl").read_bytes()
    with caplog.at_level(py_logging.INFO):
        run(workdir, ORACLE)
    assert (outputs(workdir), (workdir.judge / "ledger.jsonl").read_bytes()) == before
    assert "done before" in caplog.text


def test_a_cut_off_run_goes_on_to_the_same_result(workdir, made, tmp_path):
    run(workdir, ORACLE)
    whole = outputs(workdir)
    lines = (workdir.judge / "ledger.jsonl").read_bytes().splitlines(keepends=True)
    for name in ("judgments.parquet", "rejects.jsonl"):
        (workdir.judge / name).unlink()
    (workdir.judge / "manifest.json").rename(workdir.judge / "claim.json")
    (workdir.judge / "ledger.jsonl").write_bytes(b"".join(lines[:13]) + lines[13][:20])
    run(workdir, ORACLE)
    assert outputs(workdir) == whole
    assert len(list(read_ledger(workdir.judge / "ledger.jsonl"))) == len(lines)


def test_other_settings_are_refused_and_a_top_up_asks_for_the_rest(workdir):
    run(workdir, ORACLE)
    first = files.read_parquet(workdir.judge / "judgments.parquet")
    with pytest.raises(UserError, match=r"made with other settings.*count: 20 -> 30.*--overwrite=judge"):
        run(workdir, ORACLE | {"count": 30})
    run(workdir, ORACLE | {"count": 30}, overwrite=frozenset({"judge"}))
    table = files.read_parquet(workdir.judge / "judgments.parquet")
    assert table.num_rows == 30
    assert set(map(str, first.to_pylist())) < set(map(str, table.to_pylist()))
    asked = collections.Counter((e.id, e.repeat) for e in read_ledger(workdir.judge / "ledger.jsonl"))
    assert set(asked.values()) == {1}


def test_overwrite_removes_nothing_while_another_run_judges(workdir, monkeypatch):
    run(workdir, ORACLE)
    before = outputs(workdir)

    def held(self, what):
        raise UserError(f"{what}: process 7 is working on it")

    monkeypatch.setattr(Lock, "acquire", held)
    with pytest.raises(UserError, match="process 7 is working on it"):
        run(workdir, ORACLE | {"count": 30}, overwrite=frozenset({"judge"}))
    assert outputs(workdir) == before


def test_recorded_takes_all_that_are_in_the_pool(workdir, tmp_path, caplog):
    path = recorded(tmp_path / "r.jsonl", ["s07", "gone", "s03"])
    second = recorded(tmp_path / "again.jsonl", ["s03"], score=3)
    run(workdir, {"backend": "recorded", "recorded": path, "recorded_repeat": second})
    table = files.read_parquet(workdir.judge / "judgments.parquet")
    assert table["id"].to_pylist() == ["s03", "s07"]
    assert table["judge"].to_pylist() == ["recorded:r.jsonl"] * 2
    assert "1 of its 3 ratings are of samples that are not in the pool" in caplog.text
    (agreement,) = files.read_json(workdir.results("judge"))["agreement"]
    assert (agreement["samples"], agreement["mean"]["mean_abs_difference"]) == (1, 1.0)


def test_a_changed_file_of_ratings_is_noticed(workdir, tmp_path):
    path = recorded(tmp_path / "r.jsonl", ["s07", "s03"])
    run(workdir, {"backend": "recorded", "recorded": path})
    recorded(tmp_path / "r.jsonl", ["s07", "s03"], score=4)
    with pytest.raises(UserError, match="other settings or inputs"):
        run(workdir, {"backend": "recorded", "recorded": path})
    run(workdir, {"backend": "recorded", "recorded": path}, overwrite=frozenset({"judge"}))
    assert files.read_parquet(workdir.judge / "judgments.parquet")["humanities"].to_pylist() == [4, 4]


def test_skipped_samples_are_named(workdir):
    run(workdir, ORACLE)
    vote = next(read_ledger(workdir.judge / "ledger.jsonl"))
    for name in ("manifest.json", "judgments.parquet", "rejects.jsonl", "ledger.jsonl"):
        (workdir.judge / name).unlink()
    with Ledger(workdir.judge / "ledger.jsonl") as ledger:
        ledger.append(LedgerEntry(vote.id, vote.judge, vote.prompt_hash, outcome="skip", reason="refusal"))
    run(workdir, ORACLE)
    (row,) = files.read_jsonl(workdir.judge / "rejects.jsonl")
    assert (row["id"], row["reason"]) == (vote.id, "refusal")
    assert files.read_json(workdir.results("judge"))["skip_reasons"] == {"refusal": 1}
    assert files.read_parquet(workdir.judge / "judgments.parquet").num_rows == 19


def test_dry_run_says_what_would_be_asked_and_writes_nothing(workdir, caplog):
    with caplog.at_level(py_logging.INFO):
        run(workdir, ORACLE, dry_run=True)
    assert "vote round, 20 ratings by oracle" in caplog.text
    assert not workdir.judge.exists()


def test_dry_run_without_a_pool(tmp_path, caplog):
    with caplog.at_level(py_logging.INFO):
        run(Workdir(tmp_path), ORACLE, dry_run=True)
    assert "there is no pool yet" in caplog.text


@pytest.mark.parametrize(
    ("config", "says"),
    [
        ({"backend": "recorded"}, "recorded is not set"),
        ({"backend": "oracle"}, "set count, share or budget_usd"),
        ({"backend": "oracle", "count": 3, "share": 0.5}, "count and share are both set"),
        ({"backend": "oracle", "count": 0}, "count is 0"),
        ({"backend": "oracle", "budget_usd": -1.0}, r"budget_usd is -1\.0, expected US dollars, more than 0"),
        ({"backend": "oracle", "budget_usd": 0.0}, r"budget_usd is 0\.0, expected US dollars, more than 0"),
        ({"backend": "oracle", "budget_usd": float("inf")}, r"config\.judge\.budget_usd: expected a finite number"),
        ({"backend": "orcale", "count": 3}, "'orcale' is not one of"),
        ({"backend": "oracle", "cuont": 3}, "did you mean 'count'"),
        ({"backend": "recorded", "recorded": "none.jsonl"}, "none.jsonl: no such file"),
        ({"backend": "recorded", "recorded": "x", "repeat_share": 0.1}, "recorded_repeat"),
        ({"backend": "oracle", "count": 3, "capabilities": {"styles": "x"}}, "cannot be called 'styles'"),
    ],
)
def test_mistakes_are_one_line(workdir, config, says):
    with pytest.raises(UserError, match=says) as e:
        run(workdir, config)
    assert "\n" not in str(e.value)


def test_oracle_needs_the_synthetic_pool(workdir):
    (workdir.root / "synthetic" / "truth.parquet").unlink()
    with pytest.raises(UserError, match="oracle judges the synthetic pool only"):
        run(workdir, ORACLE)


def test_real_ratings_of_the_real_pool(shared, tmp_path):
    """The ratings and their agreement, through the stage and onto the page."""
    work = Workdir(tmp_path)
    pool = {"path": str(shared / "pool" / "pool.json"), "source": {"field": "source"}, "verify_images": "header"}
    ingest.run(StageContext({"pool": pool}, work))
    ratings = shared / "judgments"
    run(
        work, {"recorded": str(ratings / "judgments.jsonl"), "recorded_repeat": str(ratings / "judgments_repeat.jsonl")}
    )
    assert files.read_parquet(work.judge / "judgments.parquet").num_rows == 480
    result = files.read_json(work.results("judge"))
    (agreement,) = result["agreement"]
    assert agreement["samples"] == 48
    assert round(agreement["mean"]["kappa"], 2) == 0.92
    assert sum(s["judged"] for s in result["per_source"].values()) == 480
    report.run(StageContext({"name": "real"}, work))
    page = (work.report / "index.html").read_text()
    section = page[page.index('<section id="judge"') :]
    section = section[: section.index("</section>")]
    assert "Agreement on 48 samples rated twice" in section
    assert "The 8 samples with the largest disagreement" in section
    assert section.count("data:image/jpeg;base64,") >= 4  # some of the eight are texts


CONSTANT_BACKEND = """
import dataclasses
import json

from mmssr_jax.judge.backend import Backend
from mmssr_jax.judge.base import Estimate
from mmssr_jax.judge.ledger import LedgerEntry, now
from mmssr_jax.judge.rubric import Judgment


@dataclasses.dataclass(frozen=True)
class ConstantConfig:
    score: int = 1


@dataclasses.dataclass(frozen=True)
class Settings:
    constant: ConstantConfig = dataclasses.field(default_factory=ConstantConfig)


class ConstantJudge:
    prompt_hash = "0"
    rated_ids = None

    def __init__(self, score, rubric):
        self.name, self._score, self._rubric = f"constant:{score}", score, rubric

    def check(self):
        pass

    def estimate(self, requests):
        return Estimate(len(requests))

    def judge(self, requests, ledger, progress):
        scores = (self._score,) * len(self._rubric.slugs)
        raw = json.dumps(Judgment(scores, self._rubric.styles[:1]).answer(self._rubric))
        for request in requests:
            ledger.append(LedgerEntry(request.id, self.name, "0", request.repeat, raw=raw, time=now()))


class ConstantBackend(Backend):
    settings = Settings

    def check(self, settings, *, repeats):
        if settings.constant.score > 5:
            raise ValueError("constant.score is more than 5")

    def make(self, settings, context):
        return ConstantJudge(settings.constant.score, context.rubric)


BACKEND = ConstantBackend()
"""


@pytest.fixture
def constant_backend(tmp_path, monkeypatch):
    """A folder with one more backend, as if the file lay in judge/backends."""
    folder = tmp_path / "plugins"
    folder.mkdir()
    (folder / "constant.py").write_text(CONSTANT_BACKEND)
    monkeypatch.setattr(backends, "__path__", [*backends.__path__, str(folder)])
    yield
    sys.modules.pop("mmssr_jax.judge.backends.constant", None)
    vars(backends).pop("constant", None)


@pytest.mark.usefixtures("constant_backend")
def test_a_file_in_the_folder_is_a_backend(workdir):
    constant = {"backend": "constant", "constant": {"score": 4}}
    run(workdir, {**constant, "count": 6, "others": {"oracle": {"backend": "oracle", "share": 0.5}}})
    table = files.read_parquet(workdir.judge / "judgments.parquet")
    assert set(table["judge"].to_pylist()) == {"constant:4"}
    assert set(table["humanities"].to_pylist()) == {4}
    result = files.read_json(workdir.results("judge"))
    assert [(r["kind"], r["judge"], r["answered"]) for r in result["rounds"]] == [
        ("vote", "constant:4", 6), ("other", "oracle", 3),
    ]  # fmt: skip
    with pytest.raises(UserError, match=r"config.judge.constant: there is no field 'scor'; did you mean 'score'"):
        run(workdir, {"backend": "oracle", "count": 6, "constant": {"scor": 4}})
    with pytest.raises(UserError, match=r"config.judge: constant.score is more than 5"):
        run(workdir, {"backend": "constant", "count": 6, "constant": {"score": 9}})


def test_the_folder_is_left_as_it_was(workdir):
    with pytest.raises(UserError, match="'constant' is not one of 'local', 'openai', 'openai_batch', 'oracle', 'reco"):
        run(workdir, {"backend": "constant", "count": 6})
