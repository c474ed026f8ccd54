import collections
import io
import json
import logging as py_logging
import sys

import PIL.Image
import pyarrow as pa
import pytest

from configs import judge_api
from mmssr_jax.core import files
from mmssr_jax.core.config import to_dataclass
from mmssr_jax.core.errors import UserError
from mmssr_jax.core.stage import StageContext
from mmssr_jax.core.tables import judgment_schema
from mmssr_jax.core.vocabulary import SLUGS
from mmssr_jax.core.workdir import Workdir
from mmssr_jax.judge import backends
from mmssr_jax.judge.config import judge_config_class
from mmssr_jax.judge.ledger import Ledger, LedgerEntry, read_ledger
from mmssr_jax.judge.parse_answer import parse_answer
from mmssr_jax.judge.rubric import Rubric, checked
from mmssr_jax.stages import ingest, judge
from mmssr_jax.stages.report import stage as report
from mmssr_jax.training.bundle import export_bundle
from tests import small
from tests.judge.api_server import ApiServer, Reply, completion, error, good, rating
from tests.judge.batch_server import Batches

N = 40


def png():
    buffer = io.BytesIO()
    PIL.Image.new("RGB", (8, 8), "red").save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A pool of 40 samples of two sources, with truth as the synthetic pool has it."""
    root = tmp_path_factory.mktemp("pool")
    (root / "a.png").write_bytes(png())
    records = [
        {
            "id": f"s{i:02d}",
            "source": "big" if i % 4 else "small",
            "image": "a.png",
            "conversations": [
                {"from": "human", "value": f"<image>\nWhat is #{i}?"},
                {"from": "gpt", "value": "Red"},
            ],
        }
        for i in range(N)
    ]
    (root / "pool.json").write_text(json.dumps(records))
    return root


@pytest.fixture
def workdir(made, tmp_path):
    work = Workdir(tmp_path / "run")
    config = {"pool": {"path": str(made / "pool.json"), "source": {"field": "source"}}}
    ingest.run(StageContext(config, work))
    table = {"id": [f"s{i:02d}" for i in range(N)]}
    table |= {slug: pa.array([i % 6 for i in range(N)], pa.int8()) for slug in SLUGS}
    files.write_parquet(work.root / "synthetic" / "truth.parquet", pa.table(table | {"styles": [["yes/no"]] * N}))
    return work


def run(workdir, config, **kw):
    judge.run(StageContext({"judge": config}, workdir, **kw))


def recorded(path, ids, score=2):
    rows = [{"id": i, "scores": [score] * 14, "styles": ["yes/no"]} for i in ids]
    path.write_text("".join(json.dumps(r) + "\n" for r in rows))
    return str(path)


def outputs(workdir):
    names = ("judgments.parquet", "rejects.jsonl", "manifest.json")
    return [(workdir.judge / n).read_bytes() for n in names] + [workdir.results("judge").read_bytes()]


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


# --- judges behind an API

KEY = "sk-stage-0123456789"


@pytest.fixture
def api(monkeypatch):
    """A server, and the config section for it."""
    monkeypatch.setenv("JUDGE_KEY", KEY)

    def start(script=good, **settings):
        server = ApiServer(script, batch=Batches(script))
        return server, {"model": "gpt-4o", "api_key_env": "JUDGE_KEY", **settings}

    return start


def asked(server, api, workdir, config, **kw):
    with server:
        run(workdir, {"backend": "openai", "api": {**api, "base_url": server.url}, **config}, **kw)


def test_live(workdir, api, caplog):
    server, settings = api()
    with caplog.at_level(py_logging.INFO):
        asked(server, settings, workdir, {"count": 20})
    table = files.read_parquet(workdir.judge / "judgments.parquet")
    numbers = [int(i[1:]) for i in table["id"].to_pylist()]
    assert table[SLUGS[0]].to_pylist() == [rating(n)[SLUGS[0]] for n in numbers]
    assert set(table["judge"].to_pylist()) == {"gpt-4o"}
    # the warning names the data and the receiver, before the first request
    assert f"20 samples of {workdir.pool} (sources: big, small) go to {server.url}" in caplog.text
    assert "prompt tokens:" in caplog.text
    assert "30000 in the ledger" in caplog.text
    result = files.read_json(workdir.results("judge"))
    assert result["usage"]["prompt_tokens"] == 20 * 1500
    assert result["cost_usd"] == pytest.approx(20 * 0.0038)
    # 8 x 8 pixels are one tile of gpt-4o: 255 tokens
    assert result["estimate"]["prompt_tokens"] == pytest.approx(20 * (255 + 1380), rel=0.02)
    written = [p.read_bytes() for p in workdir.root.rglob("*") if p.is_file()]
    assert all(KEY.encode() not in data for data in written)
    assert KEY not in caplog.text


def test_pictures_are_sent(workdir, api):
    server, settings = api(prompt={"detail": "low"})
    asked(server, settings, workdir, {"count": 1})
    parts = server.calls[0].body["messages"][1]["content"]
    assert parts[1]["image_url"]["detail"] == "low"
    assert parts[1]["image_url"]["url"].startswith("data:image/png;base64,")


def test_batch_backend(workdir, api):
    server, settings = api(batch={"poll_s": 0.01})
    asked(server, settings, workdir, {"count": 10, "backend": "openai_batch"})
    assert files.read_parquet(workdir.judge / "judgments.parquet").num_rows == 10
    assert not server.calls


def test_votes_and_several_judges_are_averaged(workdir, api):
    def script(call):
        extra = 1 if call.body["model"] == "second" else 0
        return Reply(body=completion(json.dumps({**rating(0), "humanities": 2 + extra + call.before % 2})))

    server, settings = api(script)
    with server:
        main = {**settings, "base_url": server.url}
        others = {"b": {"api": {**main, "model": "second"}, "share": 0.5}}
        config = {"backend": "openai", "api": main, "count": 8, "votes": 2, "others": others}
        run(workdir, {**config, "combine": "mean"})
    table = files.read_parquet(workdir.judge / "judgments.parquet")
    assert sorted(table["judge"].to_pylist()) == ["gpt-4o"] * 4 + ["gpt-4o+second"] * 4
    result = files.read_json(workdir.results("judge"))
    assert [(r["kind"], r["judge"], r["answered"]) for r in result["rounds"]] == [
        ("vote", "gpt-4o", 8), ("vote", "gpt-4o", 8), ("other", "second", 4),
    ]  # fmt: skip
    assert [a["kind"] for a in result["agreement"]] == ["vote", "other"]
    assert len(server.calls) == 20


def test_a_model_of_this_project_rates_beside_the_first_judge(workdir, tmp_path):
    """Real ratings of a model from a folder, their agreement with the oracle's, and nothing asked twice."""
    export_bundle(tmp_path / "vlm", small.bundle(), dtype="float32")
    local = {"model": str(tmp_path / "vlm"), "name": "my-vlm", "rows": 4, "length_step": 3072, "images": (1,)}
    config = {"backend": "oracle", "count": 3, "others": {"vlm": {"backend": "local", "local": local}}}
    run(workdir, config)
    result = files.read_json(workdir.results("judge"))
    assert [(r["kind"], r["judge"], r["answered"]) for r in result["rounds"]] == [
        ("vote", "oracle", 3), ("other", "my-vlm", 3),
    ]  # fmt: skip
    assert result["agreement"][0]["samples"] == 3
    rows = [e for e in read_ledger(workdir.judge / "ledger.jsonl") if e.judge == "my-vlm"]
    assert all(len(parse_answer(e.raw, Rubric()).scores) == 14 for e in rows)
    ledger = (workdir.judge / "ledger.jsonl").read_bytes()
    run(workdir, {**config, "combine": "mean"}, overwrite=frozenset({"judge"}))
    assert (workdir.judge / "ledger.jsonl").read_bytes() == ledger
    assert set(files.read_parquet(workdir.judge / "judgments.parquet")["judge"].to_pylist()) == {"oracle+my-vlm"}


def test_budget_in_money(workdir, api):
    server, settings = api()
    asked(server, settings, workdir, {"budget_usd": 0.05})
    count = files.read_parquet(workdir.judge / "judgments.parquet").num_rows
    estimate = files.read_json(workdir.results("judge"))["estimate"]["usd"]
    assert 5 < count < 12
    assert estimate <= 0.05 < estimate * (count + 1) / count


def test_a_budget_too_small(workdir, api):
    server, settings = api()
    with pytest.raises(UserError, match="one sample costs about"):
        asked(server, settings, workdir, {"budget_usd": 0.0001})


def test_dry_run_prints_the_cost_and_asks_nobody(workdir, api, caplog):
    server, settings = api()
    with caplog.at_level(py_logging.INFO):
        asked(server, settings, workdir, {"count": 40, "repeat_share": 0.25}, dry_run=True)
    assert "vote round, 40 ratings by gpt-4o, 0 of them in the ledger; tokens of all:" in caplog.text
    assert "repeat round, 10 ratings by gpt-4o" in caplog.text
    assert "cost: about $0." in caplog.text
    assert not server.calls
    assert not workdir.judge.exists()


@pytest.mark.parametrize(
    ("variant", "backend", "receiver"),
    [
        ("live", "openai", "images each go to https://api.openai.com/v1 (model gpt-4o-2024-11-20)"),
        ("batch", "openai_batch", "images each go to https://api.openai.com/v1 (model gpt-4o-2024-11-20)"),
        ("server", "openai", "go to http://localhost:8000/v1 on this machine (model my-vlm)"),
    ],
)
def test_the_shipped_config_says_what_it_costs_and_who_gets_the_data(workdir, caplog, variant, backend, receiver):
    config = judge_api.get_config(variant)
    config.judge.count = 20
    config.judge.api.model = config.judge.api.model or "my-vlm"
    assert config.judge.backend == backend
    with caplog.at_level(py_logging.INFO):
        judge.run(StageContext(config, workdir, dry_run=True))
    cost = "unknown" if variant == "server" else "about $0.0" if variant == "batch" else "about $0.1"
    assert f"cost: {cost}" in caplog.text
    (warning,) = [r.getMessage() for r in caplog.records if r.levelname == "WARNING"]
    assert f"judge: 20 samples of {workdir.pool} (sources: big, small)" in warning
    assert receiver in warning
    assert not workdir.judge.exists()


def test_a_user_supplied_server_needs_a_model():
    with pytest.raises(UserError, match=r"config\.judge\.api\.model is not set"):
        to_dataclass(judge_config_class(), judge_api.get_config("server").judge, "config.judge")


def test_a_cap_below_the_estimate_is_said_before_anything_is_sent(workdir, api, caplog):
    server, settings = api(limits={"max_usd": 0.01})
    asked(server, settings, workdir, {"count": 20}, dry_run=True)
    assert "max_usd is 0.01: the run will stop at the cap" in caplog.text
    assert not server.calls


def test_no_price_is_said(workdir, api, caplog):
    server, settings = api()
    with caplog.at_level(py_logging.INFO):
        asked(server, {**settings, "model": "my-vlm"}, workdir, {"count": 4})
    assert "cost: unknown, the model has no price" in caplog.text


def test_after_a_stop_the_same_command_goes_on(workdir, api):
    stop = [True]

    def script(call):
        return error(429, "insufficient_quota", "no credit") if stop[0] and len(server.calls) > 12 else good(call)

    server, settings = api(script, limits={"concurrency": 4})
    with pytest.raises(UserError, match="add credit"):
        asked(server, settings, workdir, {"count": 30})
    assert not (workdir.judge / "manifest.json").exists()
    before = {e.id for e in read_ledger(workdir.judge / "ledger.jsonl") if e.outcome == "ok"}
    again, settings = api(limits={"concurrency": 4, "max_usd": 5.0})  # limits may change
    asked(again, settings, workdir, {"count": 30})
    assert {f"s{c.number:02d}" for c in again.calls}.isdisjoint(before)
    assert len(again.calls) == 30 - len(before)
    assert files.read_parquet(workdir.judge / "judgments.parquet").num_rows == 30


def test_the_ledger_is_read_again_without_asking_anybody(workdir, api, monkeypatch):
    """One answer had said 7 where 0-5 was asked for, twice; a parser that has learned to read it needs no server."""

    def script(call):
        odd = completion(json.dumps({**rating(call.number), "humanities": 7}))
        return Reply(body=odd) if call.number == 3 else good(call)

    server, settings = api(script)
    with server:
        config = {"share": 1.0, "api": {**settings, "base_url": server.url}, "backend": "openai"}
        run(workdir, config)
    asked_before = len(server.calls)
    assert files.read_json(workdir.results("judge"))["skip_reasons"] == {"invalid": 1}
    monkeypatch.delenv("JUDGE_KEY")
    monkeypatch.setattr(
        "mmssr_jax.judge.parse_answer.checked", lambda scores, *rest: checked([min(s, 5) for s in scores], *rest)
    )
    run(workdir, {**config, "ask": False}, overwrite=frozenset({"judge"}))
    table = files.read_parquet(workdir.judge / "judgments.parquet")
    assert table.num_rows == N
    assert table["humanities"].to_pylist()[3] == 5
    assert len(server.calls) == asked_before


def test_user_supplied_capabilities_and_styles_reach_prompt_schema_and_table(workdir, api):
    answer = {"counting_things": 4, "rhyme": 0, "styles": ["haiku"]}
    server, settings = api(lambda call: Reply(body=completion(json.dumps(answer))))
    own = {"capabilities": {"counting things": "how many", "rhyme": "verse"}, "styles": ("haiku", "list")}
    asked(server, settings, workdir, {"count": 2, **own})
    body = server.calls[0].body
    system = body["messages"][0]["content"]
    assert "- counting_things: how many\n- rhyme: verse\n" in system
    assert "the main one first: haiku; list." in system
    assert "optical" not in system
    schema = body["response_format"]["json_schema"]["schema"]
    assert schema["required"] == ["counting_things", "rhyme", "styles"]
    assert schema["properties"]["styles"]["items"]["enum"] == ["haiku", "list"]
    assert (schema["properties"]["rhyme"]["minimum"], schema["properties"]["rhyme"]["maximum"]) == (0, 5)
    table = files.read_parquet(workdir.judge / "judgments.parquet")
    assert table.schema == judgment_schema(("counting_things", "rhyme"))
    assert table["styles"].to_pylist() == [["haiku"]] * 2
    histograms = files.read_json(workdir.results("judge"))["histograms"]
    assert histograms == {"counting_things": [0, 0, 0, 0, 2, 0], "rhyme": [2, 0, 0, 0, 0, 0]}


def test_a_missing_key_leaves_nothing_behind(workdir, api, monkeypatch):
    server, settings = api()
    monkeypatch.delenv("JUDGE_KEY")
    with pytest.raises(UserError, match="JUDGE_KEY is not set"):
        asked(server, settings, workdir, {"count": 5})
    assert not workdir.judge.exists()


def test_another_prompt_is_another_judge(workdir, api):
    server, settings = api()
    asked(server, settings, workdir, {"count": 5})
    again, _ = api()
    changed = {**settings, "prompt": {"rationale": True}}
    with pytest.raises(UserError, match="other settings"):
        asked(again, changed, workdir, {"count": 5})
    asked(api()[0], changed, workdir, {"count": 5}, overwrite=frozenset({"judge"}))
    hashes = {e.prompt_hash for e in read_ledger(workdir.judge / "ledger.jsonl")}
    table = files.read_parquet(workdir.judge / "judgments.parquet")
    assert len(hashes) == 2
    assert len(set(table["prompt_hash"].to_pylist())) == 1


@pytest.mark.parametrize(
    ("config", "says"),
    [
        ({"backend": "openai", "count": 1}, "api is not set"),
        ({"backend": "openai", "count": 1, "api": {}}, "config.judge.api.model is not set"),
        ({"backend": "openai", "budget_usd": 1.0, "api": {"model": "x"}}, "needs an API judge whose model has a price"),
        ({"backend": "openai", "count": 1, "votes": 0, "api": {"model": "x"}}, "votes is 0"),
        ({"backend": "recorded", "recorded": "x", "votes": 2}, "cannot be repeated"),
        ({"backend": "local", "count": 1, "votes": 2}, "equal at temperature 0; set local.temperature"),
        ({"backend": "local", "count": 1}, "config.base is not set"),
        ({"backend": "local", "count": 1, "local": {"model": "nowhere"}}, "model 'nowhere': neither a run"),
        ({"backend": "local", "count": 1, "local": {"images": (2, 1)}}, "expected rising counts"),
        ({"backend": "oracle", "count": 1, "others": {"a": {}}}, "others.a: api is not set"),
    ],
)
def test_mistakes_with_apis_are_one_line(workdir, config, says):
    with pytest.raises(UserError, match=says) as e:
        run(workdir, config)
    assert "\n" not in str(e.value)


def test_two_judges_need_different_names(workdir):
    api = {"model": "x", "base_url": "http://127.0.0.1:9/v1"}
    config = {"backend": "openai", "count": 4, "api": api, "others": {"again": {"api": api}}}
    with pytest.raises(UserError, match="two judges are called 'x'"):
        run(workdir, config, dry_run=True)
    run(workdir, {**config, "others": {"again": {"api": {**api, "name": "y"}}}}, dry_run=True)


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
