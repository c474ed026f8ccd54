"""Selecting by calibrated scores, and capabilities that get too few picks."""

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
from mmssr_jax.core.stage import StageContext
from mmssr_jax.core.workdir import Workdir
from mmssr_jax.report.blocks import Note
from mmssr_jax.report.inputs import ReportConfig, read_inputs
from mmssr_jax.report.sections.selection import selection_section
from mmssr_jax.stages import ingest
from mmssr_jax.stages.select import stage as select_stage

N = 40
SLUGS = ("logical_deduction", "stem_knowledge")


@pytest.fixture
def workdir(tmp_path: Path) -> Workdir:
    """A pool and its scores; calibrated ones rank the samples the other way round."""
    turns = [{"from": "human", "value": "Why?"}, {"from": "gpt", "value": "So."}]
    records = [{"id": f"s{i:02d}", "source": "web", "conversations": turns} for i in range(N)]
    (tmp_path / "mine.json").write_text(json.dumps(records))
    workdir = Workdir(tmp_path / "w")
    ingest.run(StageContext({"pool": {"path": str(tmp_path / "mine.json")}}, workdir))
    rising = np.linspace(0.1, 4.9, N, dtype=np.float32)
    # Raw scores of the second capability shrink: only one of them exceeds 3.
    raw = {SLUGS[0]: rising, SLUGS[1]: np.where(np.arange(N) == 0, 3.5, rising / 2).astype(np.float32)}
    columns: dict[str, Any] = {"id": [r["id"] for r in records], "source": ["web"] * N, **raw}
    columns |= {"styles": [["yes/no"]] * N, "n_tokens": np.full(N, 10, np.int32), "nll": np.ones(N, np.float32)}
    columns |= {tables.calibrated_name(slug): rising[::-1] for slug in SLUGS}
    schema = tables.score_schema(SLUGS, ["nll", *map(tables.calibrated_name, SLUGS)])
    files.write_parquet(workdir.scores / tables.part_name(0, 1), pa.table(columns, schema=schema))
    return workdir


def _run(workdir: Workdir, selections: dict[str, Any], scores: str | None = None) -> None:
    select_stage.run(StageContext({"select": {"selections": selections, "scores": scores}}, workdir))


def _ids(workdir: Workdir, name: str) -> set[str]:
    return set(pq.read_table(workdir.selection(name) / "selection.parquet")["id"].to_pylist())


def test_a_selection_says_by_which_scores_it_is(workdir: Workdir, caplog: pytest.LogCaptureFixture):
    caplog.set_level("INFO")
    budget = {"count": 10}
    _run(workdir, {"raw": {"budget": budget}, "own": {"budget": budget, "calibrated": True}})
    assert _ids(workdir, "raw") == {f"s{i:02d}" for i in (0, *range(N - 9, N))}
    assert _ids(workdir, "own") == {f"s{i:02d}" for i in range(10)}
    assert {"raw: by the expected scores", "own: by the calibrated scores"} <= set(caplog.messages)
    picks = pq.read_table(workdir.selection("own") / "selection.parquet")
    assert picks["score"].to_pylist()[0] == pytest.approx(4.9)
    assert set(picks["capability"].to_pylist()) == set(SLUGS)
    manifest = files.read_json(workdir.selection("own") / "manifest.json")
    assert manifest["config"]["selection"]["calibrated"] is True


def test_a_table_without_calibrated_scores_is_read_as_ever(workdir: Workdir):
    path = workdir.scores / tables.part_name(0, 1)
    table = files.read_parquet(path)
    files.write_parquet(workdir.root / "old.parquet", table.select(["id", "source", *SLUGS, "styles", "n_tokens"]))
    old = str(workdir.root / "old.parquet")
    _run(workdir, {"raw": {"budget": {"count": 10}}})
    _run(workdir, {"old": {"budget": {"count": 10}}}, old)
    assert _ids(workdir, "old") == _ids(workdir, "raw")
    with pytest.raises(UserError, match=r"has no calibrated scores \(logical_deduction_calibrated\); score with"):
        _run(workdir, {"none": {"budget": {"count": 10}, "calibrated": True}}, old)


def test_a_capability_that_gets_less_than_half_of_its_share(workdir: Workdir, caplog: pytest.LogCaptureFixture):
    _run(workdir, {"few": {"budget": {"count": 12}, "threshold": 3.0}})
    assert files.read_json(workdir.selection("few") / "manifest.json")["counts"]["below_half_share"] == {SLUGS[1]: 1}
    assert any(
        m.startswith("few: stem_knowledge has 1 picks, less than half of its fair share") for m in caplog.messages
    )
    (alarm,) = _alarms(workdir)
    assert alarm == (
        "few: too few samples exceed the threshold; less than half of a fair share of the picks is for "
        "stem knowledge (1)."
    )


@pytest.mark.parametrize("mend", [{"threshold_quantile": 0.5}, {"threshold": 3.0, "calibrated": True}], ids=str)
def test_quantiles_and_calibrated_scores_mend_it(workdir: Workdir, mend: dict[str, Any]):
    _run(workdir, {"mended": {"budget": {"count": 12}, **mend}})
    assert "below_half_share" not in files.read_json(workdir.selection("mended") / "manifest.json")["counts"]
    assert _alarms(workdir) == []


def _alarms(workdir: Workdir) -> list[str]:
    section = selection_section(read_inputs(workdir, "x"), ReportConfig())
    return [b.text for b in section.blocks if isinstance(b, Note) and b.tone == "alarm"]
