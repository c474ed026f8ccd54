"""`explain` and `compare`: what the select stage logs about single samples and pairs of selections."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mmssr_jax.core import files, tables
from mmssr_jax.core.errors import UserError
from mmssr_jax.core.stage import StageContext
from mmssr_jax.core.workdir import Workdir
from mmssr_jax.stages.select import stage as select_stage
from tests.stages.select.conftest import IDS, N, run


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
