"""The report stage on a real pool of three samples."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from mmssr_jax.core import files, tables
from mmssr_jax.core.errors import UserError
from mmssr_jax.core.stage import StageContext
from mmssr_jax.core.workdir import Workdir
from mmssr_jax.stages import ingest
from mmssr_jax.stages.report import stage as report
from mmssr_jax.stages.select import stage as select

IDS = ("a", "b", "c")


@pytest.fixture
def workdir(tmp_path: Path) -> Workdir:
    records = []
    for i, name in enumerate(IDS):
        Image.new("RGB", (40, 30), (80 * i, 0, 0)).save(tmp_path / f"{name}.png")
        turns = [{"from": "human", "value": f"<image>\nQuestion {name}?"}, {"from": "gpt", "value": "Answer."}]
        records.append({"id": name, "image": f"{name}.png", "conversations": turns, "source": "s"})
    (tmp_path / "pool.json").write_text(json.dumps(records))
    made = Workdir(tmp_path / "run")
    ingest.run(StageContext({"pool": {"path": str(tmp_path / "pool.json")}}, made))
    return made


def run(workdir: Workdir, config: dict[str, Any] | None = None, **keywords: Any) -> str:
    report.run(StageContext(config or {}, workdir, **keywords))
    page = workdir.report / "index.html"
    return page.read_text(encoding="utf-8") if page.exists() else ""


def add_scores(workdir: Workdir, ids: tuple[str, ...] = IDS) -> None:
    values = np.linspace(1, 4, len(ids)).astype(np.float32)
    table = pa.table(
        {"id": ids, "source": ["s"] * len(ids), "humanities": values, "styles": [["yes/no"]] * len(ids),
         "n_tokens": np.full(len(ids), 5, np.int32)},
        schema=tables.score_schema(["humanities"]),
    )  # fmt: skip
    files.write_parquet(workdir.scores / tables.part_name(0, 1), table)


def test_images_and_text_come_from_the_pool(workdir):
    add_scores(workdir)
    html = run(workdir, {"name": "my run"})
    assert html.count("data:image/jpeg;base64,") == 3
    assert "Question b?" in html
    assert "<h1>my run</h1>" in html


def test_done_again_nothing_happens(workdir):
    first = run(workdir)
    before = (workdir.report / "index.html").stat().st_mtime_ns
    files.write_jsonl(workdir.metrics("stages"), [{"stage": "ingest", "seconds": 1.0, "peak_mib": 1}])
    assert run(workdir) == first  # times alone are no reason
    assert (workdir.report / "index.html").stat().st_mtime_ns == before


def test_made_anew_when_something_it_shows_has_changed(workdir):
    assert "No scores yet" in run(workdir)
    add_scores(workdir)
    assert "Question a?" in run(workdir)
    assert "Question a?" not in run(workdir, {"report": {"per_capability": 1, "lowest": 0, "explorer_samples": 0}})


def test_a_page_that_was_cut_off_is_made_anew(workdir):
    run(workdir)
    manifest = workdir.report / "manifest.json"
    claim = {name: files.read_json(manifest)[name] for name in ("stage", "config", "config_fingerprint")}
    files.write_json(workdir.report / "claim.json", {**claim, "inputs": {"other": "x"}})
    manifest.unlink()
    assert "No scores yet" in run(workdir)
    assert manifest.exists()


def test_scores_of_samples_that_the_pool_lacks(workdir):
    add_scores(workdir, ids=("a", "gone"))
    html = run(workdir)
    assert "this sample is no longer in the pool" in html
    assert "Question a?" in html


def test_dry_run_writes_nothing(workdir):
    assert run(workdir, dry_run=True) == ""
    assert not workdir.report.exists()


def test_empty_workdir_has_a_page_too(tmp_path):
    assert "No pool yet" in run(Workdir(tmp_path / "empty"))


def test_misspelt_field(workdir):
    with pytest.raises(UserError, match="there is no field 'lowst'; did you mean 'lowest'"):
        run(workdir, {"report": {"lowst": 3}})


def test_an_id_without_utf8_is_shown_escaped(workdir):
    rejects = [{"id": "\ud800x", "source": "s", "reason": "bad_id", "detail": "no text", "file": "p", "record": 0}]
    (workdir.pool / "rejects.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rejects))
    assert "\\ud800x" in run(workdir)


@pytest.mark.parametrize("content", ["", "null", "[]"])
def test_a_damaged_manifest_of_the_page_is_one_line_and_can_be_remade(workdir, content):
    first = run(workdir)
    (workdir.report / "manifest.json").write_text(content)
    with pytest.raises(UserError, match=r"report/manifest\.json"):
        run(workdir)
    assert run(workdir, overwrite=frozenset({"report"})) == first


def explorer_of(page: str) -> dict[str, Any]:
    data = re.search(r'id="explorer-data">(.*?)</script>', page, re.DOTALL)
    assert data is not None
    return json.loads(data[1])


SELECT = {
    "selections": {
        "one": {"method": "mmssr", "budget": {"count": 1}, "capabilities": ("humanities",), "threshold": 0.5},
        "none": {"method": "random", "budget": {"count": 1}},
    }
}


def test_the_explorer_gives_the_reasons_of_select(workdir):
    add_scores(workdir)
    select.run(StageContext({"select": SELECT}, workdir))
    data = explorer_of(run(workdir, {"select": SELECT}))
    assert [s["id"] for s in data["samples"]] == ["a", "b", "c"]
    assert [s["picks"].get("one") for s in data["samples"]] == [None, None, 1]
    reasons = [s["reasons"]["one"] for s in data["samples"]]
    assert reasons[2].startswith("taken in round 1 for humanities, score 4: rank 1 of 3")
    assert [r.split(":")[0] for r in reasons[:2]] == ["not taken", "not taken"]
    assert set(data["samples"][0]["reasons"]) == {"one", "none"}


def test_reasons_that_cannot_be_computed_are_left_out_with_a_warning(workdir, caplog):
    add_scores(workdir)
    select.run(StageContext({"select": SELECT}, workdir))
    for part in workdir.scores.glob("part-*.parquet"):
        part.unlink()
    data = explorer_of(run(workdir, {"select": SELECT}))
    assert set(data["samples"][0]["reasons"]) == {"none"}
    assert "report: the reasons of one are left out: " in caplog.text


def test_a_page_without_explorer(workdir):
    assert "<script" not in run(workdir, {"report": {"explorer_samples": 0}})
