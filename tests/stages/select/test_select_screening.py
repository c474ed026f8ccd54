"""Near duplicates and copies of benchmark questions, left out of a selection."""

from __future__ import annotations

import base64
import io
import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from PIL import Image

from mmssr_jax.core import files, tables
from mmssr_jax.core.stage import StageContext
from mmssr_jax.core.workdir import Workdir
from mmssr_jax.stages import ingest
from mmssr_jax.stages.select import stage as select_stage
from tests.stages.select.conftest import run, score_table


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
