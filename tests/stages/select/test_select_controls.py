"""Controls through the select stage: selections that refer to others, and the truth of a synthetic pool."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mmssr_jax.core import files, tables
from mmssr_jax.core.errors import UserError
from mmssr_jax.core.stage import StageContext
from mmssr_jax.core.vocabulary import SLUGS
from mmssr_jax.core.workdir import Workdir
from mmssr_jax.stages import ingest
from mmssr_jax.stages.select import stage

N = 60
IDS = [f"s{i:02d}" for i in range(N)]
SOURCES = ["charts" if i % 3 else "scenes" for i in range(N)]
STYLES = [["yes/no"] if i % 2 else ["coordinate", "yes/no"] for i in range(N)]
BUDGET = {"count": 15}


@pytest.fixture
def workdir(tmp_path: Path) -> Workdir:
    """A pool with random scores, and a truth that is the id's number modulo 6."""
    records = [
        {"id": i, "source": s, "conversations": [{"from": "human", "value": f"{i}?"}, {"from": "gpt", "value": "!"}]}
        for i, s in zip(IDS, SOURCES, strict=True)
    ]
    (tmp_path / "mine.json").write_text(json.dumps(records))
    workdir = Workdir(tmp_path / "w")
    ingest.run(StageContext({"pool": {"path": str(tmp_path / "mine.json")}}, workdir))
    scores = np.random.default_rng(0).uniform(0, 5, N).astype(np.float32)
    columns = {"id": IDS, "source": SOURCES, "ocr": scores, "styles": STYLES, "n_tokens": np.full(N, 9, np.int32)}
    files.write_parquet(
        workdir.scores / tables.part_name(0, 1), pa.table(columns, schema=tables.score_schema(("ocr",)))
    )
    return workdir


def run(workdir: Workdir, selections: dict[str, Any], **keywords: Any) -> None:
    context = {k: keywords.pop(k) for k in ("overwrite", "dry_run") if k in keywords}
    stage.run(StageContext({"select": {"selections": selections, **keywords}}, workdir, **context))


def ids(workdir: Workdir, name: str) -> list[str]:
    return pq.read_table(workdir.selection(name) / "selection.parquet")["id"].to_pylist()


def cells(names: list[str]) -> list[tuple[str, int]]:
    return sorted((SOURCES[IDS.index(n)], len(STYLES[IDS.index(n)])) for n in names)


def test_a_matched_selection_follows_the_one_it_is_like(workdir: Workdir, caplog: pytest.LogCaptureFixture) -> None:
    """It stands first in the config; the reference is made before it all the same."""
    selections = {"control": {"method": "matched", "like": "main", "budget": BUDGET}, "main": {"budget": BUDGET}}
    with caplog.at_level("INFO"):
        run(workdir, selections, dry_run=True)
    assert "control: 15 of 60 samples selected" in caplog.text
    assert not workdir.selections.exists()
    run(workdir, selections)
    assert cells(ids(workdir, "control")) == cells(ids(workdir, "main"))
    assert ids(workdir, "control") != ids(workdir, "main")
    method = files.read_json(workdir.selection("control") / "manifest.json")["counts"]["method"]
    both = len(set(ids(workdir, "control")) & set(ids(workdir, "main")))
    overlap = pytest.approx(both / (30 - both))
    assert method == {"jaccard": overlap, "exhausted_share": 0.0, "contested_jaccard": overlap}
    run(workdir, selections, verify=True)
    run(workdir, {"control": selections["control"] | {"seed": 1}}, overwrite=frozenset({"select"}))
    assert cells(ids(workdir, "control")) == cells(ids(workdir, "main"))


def test_two_halves_of_the_contested_cells(workdir: Workdir) -> None:
    """In cells of which main left a sample, both halves hold equally many; made, verified and explained."""
    halves = {"method": "matched", "cells": "contested"}, {"method": "contested"}
    selections = {"main": {"budget": {"count": 45}}} | {
        name: {**half, "like": "main", "budget": {"count": 45}}
        for name, half in zip(("control", "own"), halves, strict=True)
    }
    run(workdir, selections)
    size, taken = Counter(cells(IDS)), Counter(cells(ids(workdir, "main")))
    whole = {cell for cell, count in taken.items() if count == size[cell]}
    assert set(ids(workdir, "own")) <= set(ids(workdir, "main"))
    expected = Counter({cell: count for cell, count in taken.items() if cell not in whole})
    assert Counter(cells(ids(workdir, "own"))) == Counter(cells(ids(workdir, "control"))) == expected
    assert expected
    run(workdir, selections, verify=True, explain=tuple(IDS[:3]))


def test_a_changed_reference_is_noticed(workdir: Workdir) -> None:
    control = {"method": "matched", "like": "main", "budget": BUDGET}
    run(workdir, {"main": {"budget": BUDGET}, "control": control})
    changed = {"main": {"budget": BUDGET, "threshold": 2.0}, "control": control}
    with pytest.raises(UserError, match="was made with other settings"):
        run(workdir, {"control": control, **changed})


def test_references_that_lead_nowhere(workdir: Workdir) -> None:
    control = {"method": "matched", "like": "main", "budget": BUDGET}
    with pytest.raises(UserError, match="main"):
        run(workdir, {"control": control})
    with pytest.raises(UserError, match="the selections a, b refer to each other in a circle"):
        run(workdir, {"a": control | {"like": "b"}, "b": control | {"like": "a"}})


def test_the_oracle_selects_by_the_truth(workdir: Workdir) -> None:
    oracle = {"oracle": {"method": "oracle", "budget": {"count": 10}, "capabilities": SLUGS[:1]}}
    with pytest.raises(UserError, match=r"the method oracle needs .*truth\.parquet, which only synthetic pools have"):
        run(workdir, oracle)
    columns = {slug: np.arange(N, dtype=np.int8) % 6 for slug in SLUGS}
    truth = {"id": IDS, "source": SOURCES, **columns, "styles": STYLES, "flaw": IDS}
    files.write_parquet(workdir.truth, pa.table(truth))
    run(workdir, oracle, overwrite=frozenset({"select"}))
    truth_file = workdir.root / "truth_as_scores.parquet"
    files.write_parquet(truth_file, pa.table(truth).drop_columns(["flaw"]))
    run(workdir, {"main": {**oracle["oracle"], "method": "mmssr"}}, scores=str(truth_file))
    assert ids(workdir, "oracle") == ids(workdir, "main")
    run(workdir, oracle, verify=True, explain=(IDS[0], IDS[5]))


def test_published_methods_read_feature_tables(workdir: Workdir, caplog: pytest.LogCaptureFixture) -> None:
    """Numbers, vectors of one length and lists of several, from the score stage's folder or a file."""
    rng = np.random.default_rng(1)
    turns = [rng.uniform(1, 6, 1 + i % 3).tolist() for i in range(N)]
    columns = {
        "id": IDS,
        "complexity": turns,
        "quality": turns,
        "task_a": rng.normal(size=N),
        "task_b": rng.normal(size=N),
    }
    files.write_parquet(workdir.root / "mine.parquet", pa.table(columns))
    vectors = pa.FixedSizeListArray.from_arrays(pa.array(rng.normal(size=4 * N), pa.float32()), 4)
    files.write_parquet(
        workdir.features("embedding") / tables.part_name(0, 1), pa.table({"id": IDS, "embedding": vectors})
    )
    features = {"features": (str(workdir.root / "mine.parquet"), "embedding"), "budget": {"count": 6}}
    selections = {
        "deita": {"method": "deita", "threshold": 0.8, **features},
        "scalselect": {"method": "scalselect", "feature": "embedding", **features},
        "icons": {"method": "icons", "voters": ("task_a", "task_b"), **features},
    }
    run(workdir, selections)
    with caplog.at_level("INFO"):
        run(workdir, selections, verify=True, explain=tuple(IDS))
    for name in selections:
        assert len(ids(workdir, name)) == 6
        assert f"{name}: verified" in caplog.text
    evol = {i: sum(x * x for x in t) for i, t in zip(IDS, turns, strict=True)}
    scores = pq.read_table(workdir.selection("deita") / "selection.parquet")["score"].to_pylist()
    np.testing.assert_allclose(scores, [evol[i] for i in ids(workdir, "deita")], rtol=1e-6)
    assert ids(workdir, "deita")[0] == max(IDS, key=evol.__getitem__)
    manifests = {name: files.read_json(workdir.selection(name) / "manifest.json") for name in selections}
    assert [name for name, manifest in manifests.items() if manifest.get("target_data")] == ["icons"]


@pytest.mark.parametrize("method", ["proportional", "placebo", "reversed", "rating_threshold"])
def test_controls_verify_and_explain(workdir: Workdir, method: str, caplog: pytest.LogCaptureFixture) -> None:
    selections = {"control": {"method": method, "budget": BUDGET}}
    run(workdir, selections)
    with caplog.at_level("INFO"):
        run(workdir, selections, verify=True, explain=tuple(IDS))
    assert "control: verified, the same 15 picks" in caplog.text
    taken = {i for i in IDS if f"control: {i}: taken" in caplog.text}
    assert taken == set(ids(workdir, "control"))
    assert caplog.text.count(": not taken: ") == N - 15
