"""A file dropped into a folder of the selection is a method or a format, with no other edit."""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from mmssr_jax.core.errors import UserError
from mmssr_jax.core.stage import StageContext
from mmssr_jax.core.workdir import Workdir
from mmssr_jax.selection import formats, methods
from mmssr_jax.stages import ingest
from mmssr_jax.stages.select import stage

METHOD = """
import dataclasses
import numpy as np
from mmssr_jax.selection.method import Selector
from mmssr_jax.selection.picks import in_order

@dataclasses.dataclass(frozen=True)
class Alphabetical(Selector):
    descending: bool = False

    def select(self, candidates, budgets):
        order = np.argsort(candidates.table.ids.to_pylist(), kind="stable")
        return in_order(candidates, budgets, order[::-1] if self.descending else order)

    def why_not(self, run, row):
        return f"{run.table.ids[row].as_py()} comes too late in the alphabet"

METHOD = Alphabetical
"""
FORMAT = """
def export(folder, selected):
    (folder / "shout.txt").write_text(" ".join(item.sample.id.upper() for item in selected.items()))

FORMAT = export
"""
RECORDS = [
    {"id": f"s{i}", "source": "s", "conversations": [{"from": "human", "value": "?"}, {"from": "gpt", "value": "!"}]}
    for i in range(9)
]


@pytest.fixture
def workdir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Workdir]:
    """A pool of RECORDS, and the two folders of plug-ins extended by one file each."""
    for package, name, text in ((methods, "alphabetical", METHOD), (formats, "shout", FORMAT)):
        folder = tmp_path / package.__name__
        folder.mkdir()
        (folder / f"{name}.py").write_text(text)
        monkeypatch.setattr(package, "__path__", [*package.__path__, str(folder)])
    importlib.invalidate_caches()
    (tmp_path / "mine.json").write_text(json.dumps(RECORDS))
    workdir = Workdir(tmp_path / "w")
    ingest.run(StageContext({"pool": {"path": str(tmp_path / "mine.json")}}, workdir))
    yield workdir
    for name in ("methods.alphabetical", "formats.shout"):
        sys.modules.pop(f"mmssr_jax.selection.{name}", None)


def select(workdir: Workdir, **section: object) -> None:
    stage.run(StageContext({"select": section}, workdir))


def test_a_dropped_file_selects_writes_verifies_and_explains(
    workdir: Workdir, caplog: pytest.LogCaptureFixture
) -> None:
    selections = {
        "z": {"method": "alphabetical", "descending": True, "budget": {"count": 3}, "formats": ("shout", "csv")}
    }
    select(workdir, selections=selections)
    folder = workdir.selection("z")
    assert pq.read_table(folder / "selection.parquet")["id"].to_pylist() == ["s8", "s7", "s6"]
    assert (folder / "shout.txt").read_text() == "S6 S7 S8"
    assert json.loads((folder / "manifest.json").read_text())["config"]["selection"]["descending"] is True
    with caplog.at_level("INFO"):
        select(workdir, selections=selections, verify=True, explain=("s8", "s1"))
    assert "z: verified, the same 3 picks" in caplog.text
    assert "z: s8: taken: pick 1 of 3 by the method alphabetical" in caplog.text
    assert "z: s1: not taken: s1 comes too late in the alphabet" in caplog.text


@pytest.mark.parametrize(
    ("section", "message"),
    [
        (
            {"method": "alphabetic"},
            r"z\.method: there is no selection method 'alphabetic'; did you mean",
        ),
        (
            {"method": "random", "descending": True},
            "'descending' is a setting of alphabetical, not of random",
        ),
        ({"method": "alphabetical", "descendin": True}, "no field 'descendin'; did you mean 'descending'"),
        ({"method": "alphabetical", "selector": 1}, "there is no field 'selector'"),
        ({"method": "alphabetical", "descending": 3}, r"z\.descending: expected bool, got 3"),
        ({"method": "random", "formats": ("shot",)}, "there is no format 'shot'; did you mean 'shout'"),
    ],
)
def test_wrong_names_are_one_line(workdir: Workdir, section: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        select(workdir, selections={"z": section})
    assert "\n" not in str(caught.value)
