"""The formats that a selection is exported in."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import yaml
from PIL import Image

from mmssr_jax.core import files, tables
from mmssr_jax.core.config import to_dataclass
from mmssr_jax.core.stage import StageContext
from mmssr_jax.core.workdir import Workdir
from mmssr_jax.pool.pool import open_pool
from mmssr_jax.selection.formats import csv, datacomp, official
from mmssr_jax.selection.read_scores import read_official
from mmssr_jax.stages import ingest
from mmssr_jax.stages.select import stage as select_stage
from mmssr_jax.stages.train.mixtures import training_data
from mmssr_jax.stages.train.phase_config import DataConfig
from tests.stages.select.conftest import IDS, SOURCES, run, score_table


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
