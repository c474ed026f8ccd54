"""Ingestion spread over workers: the same bytes as the ordinary one, whatever the order, twice, and after a cut."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from mmssr_jax.core.artifact import Artifact
from mmssr_jax.core.errors import UserError
from mmssr_jax.core.stage import StageContext
from mmssr_jax.core.workdir import Workdir
from mmssr_jax.pool import check, tfds_builder
from mmssr_jax.pool.config import IngestConfig
from mmssr_jax.pool.distributed import beam, passes
from mmssr_jax.pool.reader import open_reader
from mmssr_jax.pool.writer import write_pool
from mmssr_jax.stages import ingest
from mmssr_jax.stages.ingest import pool_config_type
from tests.pool.conftest import encoded

N = 30


def shuffled(label: str, items: Sequence[int], work: Callable[[int], None]) -> None:
    """Workers in any order, some of whom do what was done before."""
    order = [*items, *items[::3]]
    random.Random(label).shuffle(order)
    for item in order:
        work(item)


def write_files(folder: Path) -> None:
    """Records of three files; two without an answer, one not an object, a repeated id, a missing and a cut image."""
    records: list[Any] = []
    for i in range(N):
        image = {"image": f"{i}.jpg"} if i % 3 else {}
        turns = [{"from": "human", "value": "<image>\n" * len(image) + f"q{i}?"}, {"from": "gpt", "value": "Café."}]
        records.append({"id": f"r{i}", **image, "conversations": turns, "source": f"s{i % 2}"})
        data = encoded(i)
        if i != 13:
            (folder / f"{i}.jpg").write_bytes(data[:-50] if i == 17 else data)
    records[4]["conversations"] = records[22]["conversations"] = []
    records[9] = 5
    records[25]["id"] = "r2"
    (folder / "a.json").write_text(json.dumps(records[:11]))
    (folder / "b.jsonl").write_text("".join(json.dumps(r) + "\n" for r in records[11:12]) + "{broken\n")
    (folder / "c.json").write_text(json.dumps(records[12:], indent=1))
    (folder / "one.json").write_text(json.dumps(records))
    lines = [f"  - json_path: {name}\n" for name in ("a.json", "b.jsonl", "c.json")]
    (folder / "pool.yaml").write_text("datasets:\n" + "".join(lines) + "    sampling_strategy: random:80%\n")


def write_packed_formats(folder: Path) -> None:
    """The sound ones of the records above as Parquet and as tar shards."""
    from mmssr_jax.pool.pool import open_pool
    from mmssr_jax.selection.formats import hf_parquet, webdataset
    from mmssr_jax.selection.item import Item

    ingest.run(StageContext({"pool": {"path": str(folder / "one.json")}}, Workdir(folder / "sound")))
    pool = open_pool(folder / "sound" / "pool")
    items = [Item(pool[i], pool.record_bytes(i)) for i in range(len(pool))]
    hf_parquet.write(folder / "parquet", {s: [i for i in items if i.sample.source == s] for s in ("s0", "s1")})
    webdataset.write(folder / "tar" / "a", items[:9])
    webdataset.write(folder / "tar" / "b", [*items[9:], items[3]])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("foreign")
    write_files(made)
    write_packed_formats(made)
    return made


@pytest.fixture(autouse=True)
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks of 4 rows, runs of 2 blocks, shards of some samples."""
    monkeypatch.setattr(check, "BLOCK", 4)
    monkeypatch.setattr(passes, "BLOCK", 4)
    monkeypatch.setattr(passes, "RUN", 2)
    monkeypatch.setattr(tfds_builder, "SHARD_BYTES", 8000)


def ingested(
    root: Path, path: Path, *, packed: bool, execute: Any = None, limit: int | None = None
) -> dict[str, bytes]:
    """Every file of the pool's folder."""
    config = pool_config_type()(path=str(path), limit=limit)
    artifact = Artifact(root / "pool", stage="ingest", settings={"path": str(path)})
    reader = open_reader(path, config)
    write_pool(artifact, reader, config.ingest, packed=packed, execute=execute)
    return {str(p.relative_to(root)): p.read_bytes() for p in sorted(root.rglob("*")) if p.is_file()}


CASES = [("one.json", False), ("pool.yaml", False), ("pool.yaml", True), ("parquet", True), ("tar", True)]


@pytest.mark.parametrize(("name", "packed"), CASES)
def test_the_same_bytes_as_on_one_machine(folder: Path, tmp_path: Path, name: str, packed: bool):
    expected = ingested(tmp_path / "one", folder / name, packed=packed)
    found = ingested(tmp_path / "many", folder / name, packed=packed, execute=shuffled)
    assert found.keys() == expected.keys()
    assert [k for k in found if found[k] != expected[k]] == []
    if packed:
        assert sum("array_record" in k for k in found) > 1
    if name in ("one.json", "tar"):
        assert b"duplicate" in found["pool/rejects.jsonl"]


def test_a_limit_takes_the_first_records(folder: Path, tmp_path: Path):
    expected = ingested(tmp_path / "one", folder / "pool.yaml", packed=False, limit=14)
    assert ingested(tmp_path / "many", folder / "pool.yaml", packed=False, execute=shuffled, limit=14) == expected


def test_a_run_that_was_cut_off_goes_on(folder: Path, tmp_path: Path):
    """It dies in every pass; what was made before is not made again, and the result is the same."""
    expected = ingested(tmp_path / "one", folder / "pool.yaml", packed=True)
    deaths = [("scan", 1), ("check", 2), ("pack", 1)]

    def dying(label: str, items: Sequence[int], work: Callable[[int], None]) -> None:
        before = {p: p.stat().st_mtime_ns for p in (tmp_path / "many").rglob("*") if "rows-" not in p.name}
        for item in items:
            if deaths and (label, item) == deaths[0]:
                deaths.pop(0)
                raise KeyboardInterrupt
            work(item)
        assert [p for p, when in before.items() if p.is_file() and p.stat().st_mtime_ns != when] == []

    for _ in range(3):
        with pytest.raises(KeyboardInterrupt):
            ingested(tmp_path / "many", folder / "pool.yaml", packed=True, execute=dying)
    assert ingested(tmp_path / "many", folder / "pool.yaml", packed=True, execute=dying) == expected
    assert deaths == []


def test_a_file_that_cannot_be_read_is_one_line(folder: Path, tmp_path: Path):
    config = pool_config_type()(path=str(folder / "tar"))
    reader = open_reader(folder / "tar", config)
    (tmp_path / "bad.tar").write_bytes(b"no tar")
    object.__setattr__(reader, "files", (tmp_path / "bad.tar",))
    task = passes.PoolJob(reader, IngestConfig(), tmp_path / "checks")
    with pytest.raises(UserError, match="not a complete tar file"):
        passes.DistributedPasses(task, shuffled).scan()


def test_beam_on_this_machine_gives_the_same_bytes(folder: Path, tmp_path: Path):
    pytest.importorskip("apache_beam", reason="the extra `beam` (apache-beam) is not installed")
    for name, packed in CASES[::2]:
        pool = {"path": str(folder / name), "packed": packed}
        with_beam = {"runner": "DirectRunner", "options": ("--direct_num_workers=1",)}
        for where, extra in (("one", {}), ("many", {"beam": with_beam})):
            ingest.run(StageContext({"pool": pool | extra}, Workdir(tmp_path / where / name)))
        one, many = (
            {str(p.relative_to(r)): p.read_bytes() for p in sorted(r.rglob("*")) if p.is_file()}
            for r in (tmp_path / "one" / name, tmp_path / "many" / name)
        )
        assert one == many


def test_without_beam_it_is_one_line(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(__import__("sys").modules, "apache_beam", None)
    config = {"pool": {"path": str(folder / "one.json"), "beam": {"runner": "DirectRunner"}}}
    with pytest.raises(UserError, match=r"needs Apache Beam: pip install 'mmssr_jax\[beam\]'"):
        ingest.run(StageContext(config, Workdir(tmp_path)))


def test_options_are_beams_flags():
    with pytest.raises(ValueError, match="expected Beam's flags"):
        beam.BeamConfig("DirectRunner", ("workers=3",))
