"""Every published method through the select stage: shards, verification, explanations, and what the manifest states."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mmssr_jax.core import files, tables
from mmssr_jax.core.errors import UserError
from mmssr_jax.core.metric_writer import append_scalars
from mmssr_jax.core.stage import StageContext
from mmssr_jax.core.workdir import Workdir
from mmssr_jax.selection.overlap import jaccard, total_variation
from mmssr_jax.stages import ingest
from mmssr_jax.stages.select import stage

N = 60
IDS = [f"s{i:02d}" for i in range(N)]
SOURCES = ["charts" if i % 3 else "scenes" for i in range(N)]
TASKS = {"method": "rds_plus", "tasks": {"a": ("near_a",), "b": ("near_b",)}}
METHODS: dict[str, dict[str, Any]] = {
    **{f"ppl_{take}": {"method": "ppl", "take": take} for take in ("highest", "lowest", "middle", "window")},
    "clip_score": {"method": "clip_score"},
    "deita": {"method": "deita"},
    "e5v": {"method": "e5v"},
    "e5v_walk": {"method": "e5v", "rule": "walk"},
    "coincide": {"method": "coincide", "parts": ("embedding", "trajectory")},
    "icons": {"method": "icons", "voters": ("near_a", "near_b")},
    "xmas": {"method": "xmas", "trajectory": "trajectory"},
    "scalselect": {"method": "scalselect", "feature": "embedding"},
    "presel": {"method": "presel"},
    "rds_plus": TASKS,
    "visual_dependency": {"method": "visual_dependency", "minimum": -1.0},
    "ready_made_ratings": {"method": "ready_made_ratings", "ratings": ("quality",), "minimum": 2.0},
}


def features() -> pa.Table:
    """One row an id, with ties and gaps."""
    rng = np.random.default_rng(0)
    columns: dict[str, Any] = {"id": IDS}
    for name in ("nll", "nll_blind", "near_a", "near_b", "similarity"):
        columns[name] = np.round(rng.normal(size=N), 1)
    columns["complexity"], columns["quality"] = rng.integers(1, 7, N), rng.integers(1, 7, N)
    reference = np.arange(N) % 6 < 2
    columns["loss_with_question"] = [1.0 + i % 3 if reference[i] else None for i in range(N)]
    columns["loss_without_question"] = [2.0 if reference[i] else None for i in range(N)]
    columns["embedding"] = [rng.normal(size=5).tolist() for _ in range(N)]
    columns["trajectory"] = [rng.uniform(size=5).tolist() if i % 5 else None for i in range(N)]
    return pa.table(columns, schema=None)


def make_workdir(root: Path, parts: list[np.ndarray]) -> Workdir:
    """A pool of N samples, and its features in parts with the given rows."""
    records = [
        {"id": i, "source": s, "conversations": [{"from": "human", "value": f"{i}?"}, {"from": "gpt", "value": "!"}]}
        for i, s in zip(IDS, SOURCES, strict=True)
    ]
    root.mkdir(exist_ok=True)
    (root / "mine.json").write_text(json.dumps(records))
    workdir = Workdir(root / "w")
    ingest.run(StageContext({"pool": {"path": str(root / "mine.json")}}, workdir))
    table = features()
    for part, rows in enumerate(parts):
        files.write_parquet(workdir.features("all") / tables.part_name(part, len(parts)), table.take(rows))
    return workdir


def run(workdir: Workdir, **more: Any) -> None:
    context = {k: more.pop(k) for k in ("dry_run",) if k in more}
    selections = {name: {**s, "features": ("all",), "budget": {"count": 12}} for name, s in METHODS.items()}
    stage.run(StageContext({"select": {"selections": selections, **more}}, workdir, **context))


@pytest.fixture(scope="module")
def workdir(tmp_path_factory: pytest.TempPathFactory) -> Workdir:
    workdir = make_workdir(tmp_path_factory.mktemp("rivals"), [np.arange(N)])
    run(workdir)
    return workdir


def test_every_selection_verifies_and_explains_every_sample(workdir: Workdir, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO"):
        run(workdir, verify=True, explain=tuple(IDS))
    for name in METHODS:
        picks = pq.read_table(workdir.selection(name) / "selection.parquet")["id"].to_pylist()
        assert len(picks) == 12
        assert f"{name}: verified, the same 12 picks" in caplog.text
        assert {i for i in IDS if f"{name}: {i}: taken: " in caplog.text} == set(picks)
        assert sum(f"{name}: {i}: not taken: " in caplog.text for i in IDS) == N - 12


def test_the_layout_of_the_features_does_not_matter(workdir: Workdir, tmp_path: Path) -> None:
    order = np.random.default_rng(1).permutation(N)
    other = make_workdir(tmp_path / "other", [order[:7], order[7:40], order[40:]])
    run(other)
    for name in METHODS:
        first, second = (w.selection(name) / "selection.parquet" for w in (workdir, other))
        assert pq.read_table(first).equals(pq.read_table(second)), name


def test_the_manifest_states_what_a_method_receives(workdir: Workdir) -> None:
    manifests = {name: files.read_json(workdir.selection(name) / "manifest.json") for name in METHODS}
    assert {name for name, m in manifests.items() if m["target_data"]} == {"icons", "rds_plus"}
    assert {name for name, m in manifests.items() if not m["images"]} == {"deita", "rds_plus"}
    assert {name for name, m in manifests.items() if m["text_only"] == "skipped"} == {
        "clip_score", "scalselect", "presel",
    }  # fmt: skip
    assert manifests["xmas"]["text_only"] == "sampled"


def test_verify_notices_a_changed_feature(tmp_path: Path) -> None:
    workdir = make_workdir(tmp_path / "changed", [np.arange(N)])
    run(workdir)
    path = workdir.features("all") / tables.part_name(0, 1)
    table = pq.read_table(path)
    files.write_parquet(path, table.set_column(1, "nll", pa.array(-table["nll"].to_numpy())))
    with pytest.raises(UserError, match="was made with other settings or inputs"):
        run(workdir, verify=True)


def test_a_dry_run_says_what_a_selection_needs(workdir: Workdir, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO"):
        run(workdir, dry_run=True)
    for line in (
        "coincide: the method coincide needs the features embedding, trajectory",
        "icons: its features are computed from images; it uses target data; text-only samples are ranked like all",
        "xmas: its features are computed from images; it uses no target data; text-only samples are sampled at random",
        "deita: its features are computed as published not from images",
        "coincide: the feature table all: embedding [5], trajectory [5]; 60 rows x 10 numbers, 0.0 MiB",
        "rds_plus: 12 of 60 samples selected",
    ):
        assert line in caplog.text


def test_a_dry_run_before_the_features_exist(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    workdir = make_workdir(tmp_path / "early", [])
    with caplog.at_level("INFO"):
        run(workdir, dry_run=True)
    assert "e5v: the feature table all does not exist yet" in caplog.text
    assert "e5v: cannot be computed yet: all does not exist" in caplog.text
    assert not workdir.selections.exists()


def test_the_summary_compares_all_selections(workdir: Workdir, tmp_path: Path) -> None:
    scores = {"id": IDS, "n_tokens": np.arange(N, dtype=np.int32)}
    files.write_parquet(tmp_path / "scores.parquet", pa.table(scores))
    path = workdir.results("selections")
    run(workdir, summary=True, scores=str(tmp_path / "scores.parquet"))
    result = files.read_json(path)
    picks = {n: pq.read_table(workdir.selection(n) / "selection.parquet")["id"].to_pylist() for n in METHODS}
    assert result["names"] == list(METHODS)
    for a, first in enumerate(picks.values()):
        for b, second in enumerate(picks.values()):
            both = len(set(first) & set(second))
            assert result["jaccard"][a][b] == pytest.approx(both / (24 - both), abs=1e-6)
    for name, row in result["selections"].items():
        share = sum(SOURCES[IDS.index(i)] == "charts" for i in picks[name]) / 12
        assert row["total_variation"] == pytest.approx(abs(share - 2 / 3), abs=1e-6)
        assert row["mean_tokens"] == pytest.approx(np.mean([IDS.index(i) for i in picks[name]]), abs=1e-6)
        assert row["seconds"] is None  # made before
        assert (row["samples"], row["budget"]) == (12, {"count": 12})
    other = make_workdir(tmp_path / "timed", [np.arange(N)])
    run(other, summary=True)
    first = files.read_json(other.results("selections"))
    assert all(row["seconds"] >= 0 and row["mean_tokens"] is None for row in first["selections"].values())
    run(other, summary=True)
    assert files.read_json(other.results("selections")) == first


def test_the_summary_names_the_models_of_the_features(tmp_path: Path) -> None:
    workdir = make_workdir(tmp_path, [np.arange(N)])
    for kind, model in (("trained", "proxy"), ("untrained", "base")):
        table = features().select(["id", "nll", "nll_blind"])
        files.write_parquet(workdir.features(kind) / tables.part_name(0, 1), table)
        manifest = {"stage": "score", "config": {}, "inputs": {}, "model": model}
        files.write_json(workdir.features(kind) / "manifest.json", manifest)
        append_scalars(workdir.metrics("features"), 0, {f"time/{kind}": 2.0})
        append_scalars(workdir.metrics("features"), 0, {f"time/{kind}": 1.5})
    ppl = {"method": "ppl", "budget": {"count": 12}}
    selections = {name: {**ppl, "features": (name,)} for name in ("trained", "untrained", "all")}
    stage.run(StageContext({"select": {"selections": selections, "summary": True}}, workdir))
    rows = files.read_json(workdir.results("selections"))["selections"]
    assert {name: row["features"] for name, row in rows.items()} == {
        "trained": {"trained": "proxy"}, "untrained": {"untrained": "base"}, "all": {},
    }  # fmt: skip
    assert [rows[name]["feature_seconds"] for name in ("trained", "all")] == [3.5, 0.0]


def test_ratings_of_the_score_table_are_features(tmp_path: Path) -> None:
    """Deita from what the scorer says of complexity and quality."""
    workdir = make_workdir(tmp_path, [np.arange(N)])
    rated = features().select(["id", "complexity", "quality"])
    styles = pa.array([["yes/no"]] * N)
    scores = rated.append_column("source", pa.array(SOURCES)).append_column("styles", styles)
    files.write_parquet(workdir.scores / tables.part_name(0, 1), scores)
    config = {"score": {"model": "scorer"}}
    files.write_json(workdir.scores / "manifest.json", {"stage": "score", "config": config, "inputs": {}})
    files.write_parquet(workdir.features("all") / tables.part_name(0, 1), features().select(["id", "embedding"]))
    deita = {"method": "deita", "budget": {"count": 5}, "features": ("scores", "all")}
    stage.run(StageContext({"select": {"selections": {"deita": deita}, "summary": True}}, workdir))
    assert files.read_json(workdir.results("selections"))["selections"]["deita"]["features"] == {"scores": "scorer"}
    picks = pq.read_table(workdir.selection("deita") / "selection.parquet")
    product = dict(zip(IDS, np.prod([rated[n].to_numpy() for n in ("complexity", "quality")], axis=0), strict=True))
    assert picks["score"].to_pylist() == [float(product[i]) for i in picks["id"].to_pylist()]
    assert picks["score"][0].as_py() == max(product.values())


def test_distances_of_selections() -> None:
    assert jaccard([pa.array([], pa.string()), pa.array([], pa.string())]).tolist() == [[1, 1], [1, 1]]
    assert total_variation({"a": 1, "b": 1}, {"a": 2, "c": 2}) == 0.5
    assert total_variation({}, {"a": 2}) == 0


def test_the_summary_of_scores_in_a_file_that_is_no_table_has_no_token_counts(workdir: Workdir, tmp_path: Path) -> None:
    (tmp_path / "parsed.csv").write_text("idx,a,sty_1\n1,3,x+y\n")
    run(workdir, summary=True, scores=str(tmp_path / "parsed.csv"))
    rows = files.read_json(workdir.results("selections"))["selections"]
    assert {name: row["mean_tokens"] for name, row in rows.items()} == dict.fromkeys(METHODS)
