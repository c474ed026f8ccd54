"""The judge stage with judges behind an API: requests, money, stops, keys."""

import json
import logging as py_logging

import pytest

from configs import judge_api
from mmssr_jax.core import files
from mmssr_jax.core.config import to_dataclass
from mmssr_jax.core.errors import UserError
from mmssr_jax.core.stage import StageContext
from mmssr_jax.core.tables import judgment_schema
from mmssr_jax.core.vocabulary import SLUGS
from mmssr_jax.judge.config import judge_config_class
from mmssr_jax.judge.ledger import read_ledger
from mmssr_jax.judge.parse_answer import parse_answer
from mmssr_jax.judge.rubric import Rubric, checked
from mmssr_jax.stages import judge
from mmssr_jax.training.bundle import export_bundle
from tests import small
from tests.judge.api_server import Reply, completion, error, good, rating
from tests.stages.judge.conftest import KEY, N, asked, run


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
        ({"backend": "local", "count": 1, "local": {"images": (2, 1)}}, "expected ascending counts"),
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
