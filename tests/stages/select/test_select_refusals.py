"""What the select stage refuses, in one line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from mmssr_jax.core import files, tables
from mmssr_jax.core.errors import UserError
from mmssr_jax.core.workdir import Workdir
from tests.stages.select.conftest import N, run, score_table


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
