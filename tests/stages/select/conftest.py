"""A small pool with scores that can be followed by eye, and the select stage on it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from mmssr_jax.core import files, tables
from mmssr_jax.core.stage import StageContext
from mmssr_jax.core.workdir import Workdir
from mmssr_jax.stages import ingest
from mmssr_jax.stages.select import stage as select_stage

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


@pytest.fixture(scope="package")
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
    """A copy of `ingested`."""
    shutil.copytree(ingested, tmp_path / "w")
    return Workdir(tmp_path / "w")


def run(workdir: Workdir, selections: dict[str, Any], **keywords: Any) -> None:
    """The stage with these selections, from `scores` where given; other keywords are those of StageContext."""
    scores = keywords.pop("scores", None)
    select_stage.run(StageContext({"select": {"selections": selections, "scores": scores}}, workdir, **keywords))
