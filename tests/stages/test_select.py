"""The select stage on a small pool with scores that one can follow by eye."""

from __future__ import annotations

import base64
import io
import json
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from PIL import Image

from mmssr_jax.core import files, tables
from mmssr_jax.core.config import to_dataclass
from mmssr_jax.core.errors import UserError
from mmssr_jax.core.stage import StageContext
from mmssr_jax.core.workdir import Workdir
from mmssr_jax.pool.pool import open_pool
from mmssr_jax.selection.formats import csv, datacomp, official
from mmssr_jax.selection.read_scores import read_official
from mmssr_jax.stages import ingest
from mmssr_jax.stages.select import stage as select_stage
from mmssr_jax.stages.train.mixtures import training_data
from mmssr_jax.stages.train.phase_config import DataConfig

N = 60


IDS = [f"s{i:02d}" for i in range(N)]
SOURCES = ["charts" if i % 3 else "scenes" for i in range(N)]
RECORDS = [
    {
        "source": source,
        "id": id,
        "conversations": [{"from": "human", "value": f"Frage {id} – ü"}, {"from": "gpt", "value": "Antwort"}],
        "extra": {"kept": [1.50, None]},
    }
    | ({"license": f"CC BY {i % 2 + 3}.0"} if source == "scenes" else {})
    for i, (id, source) in enumerate(zip(IDS, SOURCES, strict=True))
]


def score_table(capabilities: tuple[str, ...] = ("ocr", "logic")) -> pa.Table:
    rng = np.random.default_rng(0)
    columns: dict[str, Any] = {"id": IDS, "source": SOURCES}
    columns |= {name: rng.uniform(0, 5, N).astype(np.float32) for name in capabilities}
    columns["styles"] = [["yes/no"] if i % 2 else ["coordinate", "yes/no"] for i in range(N)]
    columns["n_tokens"] = np.full(N, 10, np.int32)
    return pa.table(columns, schema=tables.score_schema(capabilities))


@pytest.fixture(scope="module")
def ingested(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workdir with a pool of RECORDS and their scores in two parts."""
    root = tmp_path_factory.mktemp("select")
    (root / "mine.json").write_text(json.dumps(RECORDS), encoding="utf-8")
    ingest.run(StageContext({"pool": {"path": str(root / "mine.json")}}, Workdir(root)))
    for part, rows in enumerate((slice(0, 40), slice(40, N))):
        files.write_parquet(root / "scores" / tables.part_name(part, 2), score_table().take(np.arange(N)[rows]))
    return root


@pytest.fixture
def workdir(ingested: Path, tmp_path: Path) -> Workdir:
    shutil.copytree(ingested, tmp_path / "w")
    return Workdir(tmp_path / "w")


def run(workdir: Workdir, selections: dict[str, Any], **keywords: Any) -> None:
    scores = keywords.pop("scores", None)
    select_stage.run(StageContext({"select": {"selections": selections, "scores": scores}}, workdir, **keywords))


def test_files_agree_with_each_other(workdir: Workdir) -> None:
    run(workdir, {"main": {"budget": {"ratio": 0.25}}})
    folder = workdir.selection("main")
    picks = pq.read_table(folder / "selection.parquet")
    assert picks.column_names == ["id", "source", "capability", "group", "score", "round"]
    ids = picks["id"].to_pylist()
    assert len(ids) == len(set(ids)) == 15
    assert (folder / "ids.txt").read_text().split() == sorted(ids)
    records = json.loads((folder / "pool.json").read_text())
    assert [r["id"] for r in records] == sorted(ids, key=IDS.index)
    assert records == [RECORDS[IDS.index(r["id"])] for r in records]
    assert (folder / "pool.json").read_text(encoding="utf-8") == json.dumps(records, indent=2, ensure_ascii=False)
    manifest = files.read_json(folder / "manifest.json")
    assert manifest["licences"] == {"scenes": ["CC BY 3.0", "CC BY 4.0"]}
    counts = manifest["counts"]
    assert counts["selected"] == sum(counts["per_source"].values()) == sum(counts["per_capability"].values()) == 15
    by_id = {row["id"]: row for row in score_table().to_pylist()}
    for pick in picks.to_pylist():
        row = by_id[pick["id"]]
        assert pick["score"] == row[pick["capability"]]
        assert pick["group"] in [f"{style}+{row['source']}" for style in row["styles"]]


def test_again_does_nothing_and_overwrite_gives_the_same_bytes(workdir: Workdir) -> None:
    selections = {"main": {"budget": {"count": 10}}, "dice": {"method": "random", "budget": {"count": 10}}}
    run(workdir, selections)
    before = {p: p.read_bytes() for p in workdir.root.rglob("*") if p.is_file()}
    run(workdir, selections)
    run(workdir, selections, overwrite=frozenset({"select"}))
    assert {p: p.read_bytes() for p in workdir.root.rglob("*") if p.is_file()} == before


def test_dry_run_writes_nothing(workdir: Workdir) -> None:
    run(workdir, {"main": {}}, dry_run=True)
    assert not (workdir.root / "selections").exists()


def test_random_needs_no_scores(workdir: Workdir) -> None:
    for part in tables.part_files(workdir.scores):
        part.unlink()
    run(workdir, {"dice": {"method": "random", "budget": {"ratio": 0.1}}})
    assert files.read_json(workdir.selection("dice") / "manifest.json")["counts"]["selected"] == 6


def test_nested_budgets(workdir: Workdir) -> None:
    budgets = {"small": {"count": 7}, "large": {"count": 20}}
    run(workdir, {"n": {"budgets": budgets, "nested": True}, "alone": {"budget": {"count": 7}}})
    small, large, alone = (
        pq.read_table(workdir.selection(name) / "selection.parquet") for name in ("n-small", "n-large", "alone")
    )
    assert small.equals(alone)
    assert large.slice(0, 7).equals(small)
    assert large.num_rows == 20


def test_own_score_file(workdir: Workdir, tmp_path: Path) -> None:
    files.write_parquet(tmp_path / "mine.parquet", score_table(("only_mine",)))
    run(workdir, {"mine": {"budget": {"count": 5}}}, scores=str(tmp_path / "mine.parquet"))
    picks = pq.read_table(workdir.selection("mine") / "selection.parquet")
    assert set(picks["capability"].to_pylist()) == {"only_mine"}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.set_column(2, "ocr", pa.array([0.0] * N, pa.float32())), "the scores of ocr are all 0"),
        (lambda t: t.set_column(2, "ocr", pa.nulls(N, pa.float32())), "the scores of ocr are all missing"),
        (lambda t: t.set_column(2, "ocr", pa.array([1.0, 5.5] * 30, pa.float32())), "id 's01': ocr is 5.5"),
        (lambda t: t.set_column(2, "ocr", pa.array([1.0, float("inf")] * 30, pa.float32())), "id 's01': ocr is inf"),
        (lambda t: t.set_column(0, "id", pa.array(["s00", "s00"] * 30)), "id 's00' occurs more than once"),
        (lambda t: t.set_column(0, "id", pa.array([f"x{i}" for i in range(N)])), "60 scored ids are not in the pool"),
        (lambda t: t.drop_columns(["source"]), "has no column source"),
    ],
)
def test_wrong_scores_are_one_line(workdir: Workdir, tmp_path: Path, change: Any, message: str) -> None:
    files.write_parquet(tmp_path / "mine.parquet", change(score_table()))
    with pytest.raises(UserError, match=message) as caught:
        run(workdir, {"mine": {"budget": {"count": 5}}}, scores=str(tmp_path / "mine.parquet"))
    assert "\n" not in str(caught.value)


def test_degenerate_scores_are_refused(workdir: Workdir) -> None:
    files.write_json(workdir.results("scorer"), {"degenerate": ["logic"]})
    with pytest.raises(UserError, match="the scores of logic are degenerate"):
        run(workdir, {"main": {}})
    run(workdir, {"main": {"capabilities": ("ocr",)}}, overwrite=frozenset({"select"}))
    own = str(workdir.scores / tables.part_name(0, 2))  # that evaluation says nothing about scores of one's own
    run(workdir, {"own": {}}, scores=own)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"budget": {"count": 61}}, "61 samples is more than the 60"),
        ({"budget": {"count": 0}}, "must be at least 1"),
        ({"budget": {"ratio": 1.5}}, "above 0 and at most 1"),
        ({"budget": {"ratio": 0.1, "count": 5}}, "one of ratio, count or tokens"),
        ({"capabilities": ("ocd",)}, "no capability 'ocd'"),
        ({"only": {"sources": ("chart",)}}, "no row has the source 'chart'"),
        ({"only": {"styles": ("haiku",)}}, "no row has the style 'haiku'"),
        ({"only": {"ids": "nowhere.txt"}}, "nowhere.txt: no such file"),
        ({"method": "magic"}, "main.method: there is no selection method 'magic'"),
        ({"weights": {"ocr": -1.0}}, "below 0"),
        ({"nested": True, "budgets": {"a": {"count": 3}, "b": {"tokens": 30}}}, "of one kind"),
    ],
)
def test_wrong_settings_are_one_line(workdir: Workdir, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        run(workdir, {"main": settings})
    assert "\n" not in str(caught.value)


def test_what_is_odd_but_allowed_has_a_defined_result(workdir: Workdir, tmp_path: Path, caplog: Any) -> None:
    """Ratio 1, a budget of less than one sample, scores that are not there, a style beside the nine, no style."""
    odd = score_table().to_pylist()
    for row in odd[:5]:
        row["ocr"] = None  # no rating in this capability: not eligible for it
    odd[5]["styles"] = []
    odd[6]["styles"] = ["haiku"]
    odd[7]["ocr"] = odd[7]["logic"] = None
    files.write_parquet(tmp_path / "mine.parquet", pa.Table.from_pylist(odd, score_table().schema))
    selections = {
        "all": {"budget": {"ratio": 1.0}, "threshold": -1.0},
        "none": {"budget": {"ratio": 0.01}},
        "filtered": {"budget": {"count": 3}, "exclude": {"sources": ("charts", "scenes")}},
    }
    run(workdir, selections, scores=str(tmp_path / "mine.parquet"))
    picks = pq.read_table(workdir.selection("all") / "selection.parquet").to_pylist()
    assert {p["id"] for p in picks} == set(IDS) - {IDS[5], IDS[7]}
    assert {p["id"] for p in picks if p["capability"] == "ocr"}.isdisjoint(IDS[:5])
    assert [p["group"] for p in picks if p["id"] == IDS[6]] == ["haiku+scenes"]
    counts = files.read_json(workdir.selection("all") / "manifest.json")["counts"]
    assert (counts["selected"], counts["short"], counts["no_style"], counts["per_style"]["haiku"]) == (58, 2, 1, 1)
    for name in ("none", "filtered"):
        assert pq.read_table(workdir.selection(name) / "selection.parquet").num_rows == 0
        assert (workdir.selection(name) / "ids.txt").read_text() == ""
    assert "1 styles are not among the nine" in caplog.text
    assert "nothing was selected; the budget is less than one sample" in caplog.text


def test_the_order_of_rows_and_shards_does_not_matter(workdir: Workdir, tmp_path: Path) -> None:
    run(workdir, {"main": {"budget": {"count": 12}}})
    first = (workdir.selection("main") / "selection.parquet").read_bytes()
    shuffled = score_table().take(np.random.default_rng(1).permutation(N))
    for part, (begin, end) in enumerate([(0, 3), (3, 31), (31, N)]):
        files.write_parquet(tmp_path / "mine" / tables.part_name(part, 3), shuffled.slice(begin, end - begin))
    run(workdir, {"other": {"budget": {"count": 12}}}, scores=str(tmp_path / "mine"))
    assert (workdir.selection("other") / "selection.parquet").read_bytes() == first


def test_verify_finds_what_was_changed(workdir: Workdir) -> None:
    selections = {"main": {"budget": {"count": 10}}}

    def check() -> None:
        config = {"select": {"selections": selections, "verify": True}}
        select_stage.run(StageContext(config, workdir))

    run(workdir, selections)
    check()
    path = workdir.selection("main") / "selection.parquet"
    picks = pq.read_table(path)
    files.write_parquet(path, picks.take(list(reversed(range(10)))))
    with pytest.raises(UserError, match="the picks are in a different order"):
        check()
    files.write_parquet(path, picks.slice(1))
    with pytest.raises(UserError, match="1 only in the selection computed again"):
        check()
    files.write_parquet(path, picks)
    files.write_text(workdir.selection("main") / "ids.txt", "s00\n")
    with pytest.raises(UserError, match=r"ids\.txt contains other ids"):
        check()


@pytest.mark.parametrize(
    ("name", "change", "words"),
    [
        ("pool.json", lambda b: b.replace(b"s0", b"s1", 1), r"pool\.json is not what was written"),
        ("csv/selection.csv", lambda b: b + b"\n", r"selection\.csv is not what was written"),
        ("pool.json", lambda _: None, r"pool\.json is missing"),
        ("notes.txt", lambda _: b"mine", r"notes\.txt is not a file of the selection"),
        ("selection.parquet", lambda b: b[:-20], r"not a readable Parquet file"),
    ],
)
def test_verify_compares_every_file(
    workdir: Workdir, name: str, change: Callable[[bytes], bytes | None], words: str
) -> None:
    selections = {"main": {"budget": {"count": 10}, "formats": ("csv",)}}
    run(workdir, selections)
    config = {"select": {"selections": selections, "verify": True}}
    select_stage.run(StageContext(config, workdir))
    folder = workdir.selection("main")
    path = next(folder.rglob(Path(name).name), folder / name)
    changed = change(path.read_bytes() if path.exists() else b"")
    if changed is None:
        path.unlink()
    else:
        path.write_bytes(changed)
    with pytest.raises(UserError, match=words):
        select_stage.run(StageContext(config, workdir))
    assert not list(workdir.root.glob(".verify-*"))


def test_explain_and_compare_are_logged(workdir: Workdir, caplog: pytest.LogCaptureFixture) -> None:
    selections = {"one": {"budget": {"count": 10}}, "two": {"budget": {"count": 10}, "threshold": 3.0}}
    run(workdir, selections)
    taken = pq.read_table(workdir.selection("one") / "selection.parquet")["id"][0].as_py()
    absent = next(i for i in IDS if i not in (workdir.selection("one") / "ids.txt").read_text().split())
    flags = {"explain": (f"{taken},{absent}",), "compare": ("one,two",)}  # as --config.select.compare=one,two gives it
    said = []
    for asked in ({"explain": (taken, absent), "compare": ("one", "two")}, flags):
        caplog.clear()
        with caplog.at_level("INFO"):
            select_stage.run(StageContext({"select": {"selections": selections, **asked}}, workdir))
        said.append([r.getMessage() for r in caplog.records])
    assert said[0] == said[1]
    said = said[0]
    assert any(line.startswith(f"one: {taken}: taken in round 1") for line in said)
    assert any(line.startswith(f"one: {absent}: not taken") for line in said)
    assert any("are in both one and two" in line for line in said)


def test_features_need_no_scores_and_explain_themselves(
    workdir: Workdir, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for part in tables.part_files(workdir.scores):
        part.unlink()
    ppl = pa.table({"id": IDS[:50], "ppl": [float(i) for i in range(50)], "note": ["x"] * 50})
    tasks = pa.table({"id": IDS, "chart_task": list(range(N)), "text_task": [i % 30 for i in range(N)]})
    files.write_parquet(tmp_path / "ppl.parquet", ppl)
    files.write_parquet(workdir.root / "features" / "tasks" / tables.part_name(0, 1), tasks)
    features = (str(tmp_path / "ppl.parquet"),)
    mid = {"method": "feature", "features": features, "feature": "ppl", "take": "middle", "budget": {"count": 4}}
    icons = {"method": "votes", "features": ("tasks",), "budget": {"count": 2}}
    config = {"selections": {"mid": mid, "icons": icons}, "explain": (IDS[0], IDS[55]), "verify": True}
    select_stage.run(StageContext({"select": config}, workdir))
    assert (workdir.selection("mid") / "ids.txt").read_text().split() == IDS[23:27]
    assert pq.read_table(workdir.selection("icons") / "selection.parquet")["score"].to_pylist() == [2.0, 2.0]
    with caplog.at_level("INFO"):
        select_stage.run(StageContext({"select": config}, workdir))
    assert f"mid: {IDS[0]}: not taken: its ppl of 0 was not among the middle" in caplog.text
    assert f"mid: {IDS[55]}: not taken: it has no ppl" in caplog.text
    assert f"icons: {IDS[0]}: not taken: it has too few votes; what was taken has 2 or more" in caplog.text
    assert "icons: verified, the same 2 picks" in caplog.text
    files.write_parquet(tmp_path / "ppl.parquet", ppl.set_column(0, "id", pa.array(["s00"] * 50)))
    with pytest.raises(UserError, match="more than once"):
        run(workdir, {"mid": mid}, overwrite=frozenset({"select"}))


def test_extra_scores_join_by_id(workdir: Workdir, tmp_path: Path) -> None:
    extra = score_table(("new_skill",)).take(np.arange(N)[::-2]).drop_columns(["source", "styles", "n_tokens"])
    files.write_parquet(tmp_path / "new.parquet", extra)
    settings = {
        "budget": {"count": 20},
        "capabilities": ("new_skill", "ocr"),
        "extra_scores": (str(tmp_path / "new.parquet"),),
    }
    run(workdir, {"main": settings})
    picks = pq.read_table(workdir.selection("main") / "selection.parquet").to_pylist()
    expected = dict(zip(extra["id"].to_pylist(), extra["new_skill"].to_pylist(), strict=True))
    chosen = [p for p in picks if p["capability"] == "new_skill"]
    assert 8 <= len(chosen) <= 12
    assert all(p["score"] == expected[p["id"]] for p in chosen)


def test_filters_owned_required_and_caps(workdir: Workdir, tmp_path: Path) -> None:
    files.write_text(tmp_path / "optout.txt", "".join(f"{i}\n" for i in IDS[:20]))
    run(workdir, {"before": {"budget": {"count": 10}}})
    owned = set((workdir.selection("before") / "ids.txt").read_text().split())
    required = [i for i in reversed(IDS[20:]) if i not in owned][:2]
    files.write_text(tmp_path / "must.txt", "\n".join(required))
    settings = {
        "budget": {"count": 15},
        "exclude": {"ids": str(tmp_path / "optout.txt")},
        "only": {"styles": ("yes/no",)},
        "require_ids": str(tmp_path / "must.txt"),
        "owned": (str(workdir.selection("before")),),
        "source_caps": {"scenes": 3},
    }
    run(workdir, {"before": {"budget": {"count": 10}}, "after": settings})
    picks = pq.read_table(workdir.selection("after") / "selection.parquet")
    ids = picks["id"].to_pylist()
    assert ids[:2] == required
    assert not set(ids) & (owned | set(IDS[:20]))
    assert len(ids) == 15
    assert picks["source"].to_pylist().count("scenes") <= 3
    counts = files.read_json(workdir.selection("after") / "manifest.json")["counts"]
    assert counts["no_candidates"]["in exclude.ids"] == 20


def test_every_format(tmp_path: Path) -> None:
    picture = io.BytesIO()
    Image.new("RGB", (8, 8), "red").save(picture, "PNG")
    records = []
    for i in range(20):
        record: dict[str, Any] = {"id": f"{i:032x}", "source": "a/b" if i % 2 else "c"}
        record["conversations"] = [{"from": "human", "value": "<image>\nWhat?"}, {"from": "gpt", "value": f"{i}"}]
        record["image"] = f"{i}.png"
        (tmp_path / f"{i}.png").write_bytes(picture.getvalue())
        records.append(record)
    (tmp_path / "mine.json").write_text(json.dumps(records))
    workdir = Workdir(tmp_path / "w")
    ingest.run(StageContext({"pool": {"path": str(tmp_path / "mine.json")}}, workdir))
    rows = score_table().slice(0, 20).set_column(0, "id", pa.array([r["id"] for r in records]))
    files.write_parquet(workdir.scores / tables.part_name(0, 1), rows)
    formats = ("csv", "hf_parquet", "webdataset", "mixture", "datacomp", "official", "packed")
    run(workdir, {"main": {"budget": {"count": 6}, "formats": formats}})
    folder = workdir.selection("main")
    ids = (folder / "ids.txt").read_text().split()
    picks = pq.read_table(folder / "selection.parquet")
    assert csv.read(folder / "selection.csv").equals(picks)
    assert datacomp.read(folder / "datacomp.npy").to_pylist() == ids
    layout = [pq.read_table(p) for p in sorted((folder / "hf_parquet").rglob("*.parquet"))]
    assert sorted(i for t in layout for i in t["id"].to_pylist()) == ids
    assert {row["image"]["bytes"] for t in layout for row in t.to_pylist()} == {picture.getvalue()}
    with tarfile.open(folder / "webdataset" / "00000.tar") as tar:
        assert [m.name for m in tar if m.name.endswith(".json")] == [f"{i}.json" for i in ids]
    packed = open_pool(folder / "packed")
    assert list(packed.ids) == ids
    assert [packed.record(i) for i in range(6)] == json.loads((folder / "pool.json").read_text())
    assert packed[0].images[0].read() == picture.getvalue()
    again = read_official(folder / "official", lambda: {r["id"]: r["source"] for r in records})
    assert again is not None
    assert sorted(again.ids.to_pylist()) == ids
    parsed = official.read_csv(folder / "official" / "official_parsed.csv")
    by_id = {row["id"]: row for row in rows.drop_columns(["n_tokens"]).to_pylist()}
    assert parsed.to_pylist() == [by_id[i] for i in picks["id"].to_pylist()]


def test_mixture_weights_train_on_the_pool_in_the_shares_of_the_selection(workdir: Workdir, tmp_path: Path) -> None:
    """One component a cell: its candidates, weighted by its picks; an excluded sample is in none."""
    files.write_text(tmp_path / "optout.txt", f"{IDS[0]}\n{IDS[1]}\n")
    settings = {"budget": {"count": 15}, "exclude": {"ids": str(tmp_path / "optout.txt")}}
    selections = {"main": {**settings, "formats": ("mixture_weights",)}}
    run(workdir, selections)
    folder = workdir.selection("main") / "mixture_weights"
    mixture = files.read_json(folder / "mixture.json")
    assert list(mixture) == ["charts+coordinate+yes/no", "charts+yes/no", "scenes+coordinate+yes/no", "scenes+yes/no"]
    picks = pq.read_table(workdir.selection("main") / "selection.parquet")["id"].to_pylist()
    candidates: list[str] = []
    for name, component in mixture.items():
        ids = pq.read_table(workdir.selection(component["selection"]) / "selection.parquet")["id"].to_pylist()
        assert component["weight"] == len(set(ids) & set(picks)) / 15
        assert {SOURCES[IDS.index(i)] for i in ids} == {name.split("+")[0]}
        assert {IDS.index(i) % 2 for i in ids} == {0 if "coordinate" in name else 1}
        candidates += ids
    assert sorted(candidates) == IDS[2:]
    listed = yaml.safe_load((folder / "mixture.yaml").read_text(encoding="utf-8"))["datasets"]
    counts = [round(15 * component["weight"]) for component in mixture.values()]
    assert [entry["sampling_strategy"] for entry in listed] == [f"random:{n}" for n in counts]
    records = [r for entry in listed for r in json.loads((folder / entry["json_path"]).read_text(encoding="utf-8"))]
    assert sorted(r["id"] for r in records) == IDS[2:]
    training = training_data(
        StageContext({}, workdir), to_dataclass(DataConfig, {"mixture": mixture}, "here"), where="here"
    )
    assert len(training.samples) == len(IDS) - 2
    assert f"selection.{mixture['scenes+yes/no']['selection']}" in training.inputs
    select_stage.run(StageContext({"select": {"selections": selections, "verify": True}}, workdir))


def test_selects_from_official_answers(workdir: Workdir, tmp_path: Path) -> None:
    official.write_jsonl(tmp_path / "ss", score_table())
    run(workdir, {"main": {"budget": {"count": 9}}}, scores=str(tmp_path / "ss"))
    picks = pq.read_table(workdir.selection("main") / "selection.parquet")
    assert set(picks["score"].to_pylist()) <= {1.0, 2.0, 3.0, 4.0, 5.0}
    assert picks.num_rows == 9


def test_near_duplicates_and_benchmarks(tmp_path: Path) -> None:
    def png(seed: int) -> bytes:
        out, noise = io.BytesIO(), np.random.default_rng(seed).integers(0, 256, (4, 4, 3), dtype=np.uint8)
        Image.fromarray(noise).resize((64, 64), Image.Resampling.BICUBIC).save(out, "PNG")
        return out.getvalue()

    text = "Please describe in a few words what kind of coloured pattern this picture shows to you."
    records = []
    for i in range(12):
        (tmp_path / f"{i}.png").write_bytes(png(i // 2))
        turns = [{"from": "human", "value": f"<image>\n{text}"}, {"from": "gpt", "value": "A blurred one."}]
        records.append({"id": f"s{i:02d}", "source": "p", "image": f"{i}.png", "conversations": turns})
    (tmp_path / "mine.json").write_text(json.dumps(records))
    benchmark = "index\timage\tquestion\tanswer\n" + f"7\t{base64.b64encode(png(2)).decode()}\tWhat?\tA\n"
    (tmp_path / "bench.tsv").write_text(benchmark)
    workdir = Workdir(tmp_path / "w")
    ingest.run(StageContext({"pool": {"path": str(tmp_path / "mine.json")}}, workdir))
    rows = score_table().slice(0, 12)
    files.write_parquet(workdir.scores / tables.part_name(0, 1), rows)
    clean = {"decontaminate": {"benchmarks": (str(tmp_path / "bench.tsv"),)}, "near_duplicates": {}, "threshold": 0.0}
    run(workdir, {"main": {"budget": {"count": 12}, **clean}}, dry_run=True)
    assert not (workdir.root / "features").exists()
    run(workdir, {"main": {"budget": {"count": 12}, **clean}})
    folder = workdir.selection("main")
    contaminated = pq.read_table(folder / "contamination.parquet").to_pylist()
    assert [(r["id"], r["benchmark"], r["index"], r["by"], r["distance"]) for r in contaminated] == [
        ("s04", "bench.tsv", "7", "image", 0),
        ("s05", "bench.tsv", "7", "image", 0),
    ]
    total = {r["id"]: r["ocr"] + r["logic"] for r in rows.to_pylist()}
    best = {max(f"s{i:02d}", f"s{i + 1:02d}", key=total.__getitem__) for i in range(0, 12, 2)}
    ids = set((folder / "ids.txt").read_text().split())
    assert ids == best - {"s04", "s05"}
    counts = files.read_json(folder / "manifest.json")["counts"]
    assert counts["short"] == 12 - len(ids)
    config = {"selections": {"main": {"budget": {"count": 12}, **clean}}, "verify": True}
    select_stage.run(StageContext({"select": config}, workdir))
