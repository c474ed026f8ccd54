from __future__ import annotations

import dataclasses
import json
import logging
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from absl import logging as absl_logging
from PIL import Image

from mmssr_jax.core.errors import UserError
from mmssr_jax.core.stage import StageContext
from mmssr_jax.core.workdir import Workdir
from mmssr_jax.pool.pool import open_pool
from mmssr_jax.stages import ingest


def _record(id: str | None, **fields: Any) -> dict[str, Any]:
    turns = [{"from": "human", "value": f"Who is {id}?"}, {"from": "gpt", "value": "Nobody."}]
    return {"id": id, "conversations": turns, "source": "s", **fields}


def _pool_file(folder: Path, records: list[dict[str, Any]]) -> Path:
    path = folder / "foreign.json"
    path.write_text(json.dumps(records))
    return path


def _context(root: Path, path: Path, *, overwrite: bool = False, dry_run: bool = False, **fields: Any) -> StageContext:
    config = {"pool": {"path": str(path), **fields}}
    chosen = frozenset({"ingest"}) if overwrite else frozenset()
    return StageContext(config, Workdir(root / "work"), overwrite=chosen, dry_run=dry_run)


def _files(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> pytest.LogCaptureFixture:
    """What the stage logs."""
    monkeypatch.setattr(absl_logging.get_absl_logger(), "propagate", True)
    caplog.set_level(logging.INFO, logger="absl")
    return caplog


def test_the_folder_holds_what_the_contract_says(tmp_path: Path):
    path = _pool_file(tmp_path, [_record("a"), _record("b", conversations=[]), _record("c", source=None)])
    ingest.run(_context(tmp_path, path))
    pool = tmp_path / "work" / "pool"
    assert sorted(_files(pool)) == ["index.parquet", "manifest.json", "rejects.jsonl"]
    assert open_pool(pool).ids.tolist() == ["a", "c"]
    assert open_pool(pool).sources.tolist() == ["s", "unknown"]
    (reject,) = [json.loads(line) for line in (pool / "rejects.jsonl").read_text().splitlines()]
    assert reject == {
        "id": "b", "source": "s", "reason": "no_conversation", "file": "foreign.json", "record": 1,
        "detail": "its 'conversations' is [], expected a list of turns",
    }  # fmt: skip
    counts = json.loads((pool / "manifest.json").read_text())["counts"]
    assert (counts["samples"], counts["rejected"], counts["reasons"]) == (2, 1, {"no_conversation": 1})


@pytest.mark.parametrize("packed", [False, True])
def test_the_same_input_gives_the_same_bytes(tmp_path: Path, packed: bool):
    for name in ("one", "two"):
        (tmp_path / name / "work").mkdir(parents=True)
        path = _pool_file(tmp_path / name / "work", [_record(str(i)) for i in range(20)])
        ingest.run(_context(tmp_path / name, path, packed=packed))
    assert _files(tmp_path / "one") == _files(tmp_path / "two")


def test_it_runs_once(tmp_path: Path, log: pytest.LogCaptureFixture):
    path = _pool_file(tmp_path, [_record("a")])
    ingest.run(_context(tmp_path, path))
    before = _files(tmp_path / "work")
    log.clear()
    ingest.run(_context(tmp_path, path))
    assert "done before" in log.text
    assert _files(tmp_path / "work") == before


def test_other_settings_or_another_file_are_refused_until_overwritten(tmp_path: Path):
    path = _pool_file(tmp_path, [_record("a")])
    ingest.run(_context(tmp_path, path))
    with pytest.raises(UserError, match="--overwrite=ingest"):
        ingest.run(_context(tmp_path, path, repair="llava"))
    _pool_file(tmp_path, [_record("a"), _record("b")])
    with pytest.raises(UserError, match=r"inputs\.foreign\.json"):
        ingest.run(_context(tmp_path, path))
    ingest.run(_context(tmp_path, path, overwrite=True))
    assert open_pool(tmp_path / "work" / "pool").ids.tolist() == ["a", "b"]


def test_the_flag_that_an_error_names_repairs_it(tmp_path: Path):
    path = _pool_file(tmp_path, [_record(None), _record(None, extra=1), _record("x")])
    with pytest.raises(UserError, match=r"2 of 3 records have no 'id' field; --config\.pool\.id=auto"):
        ingest.run(_context(tmp_path, path))
    ingest.run(_context(tmp_path, path, id="auto"))
    assert [i[-2:] for i in open_pool(tmp_path / "work" / "pool").ids] == ["-0", "-1", "-0"]


@pytest.mark.parametrize("where", ["", "elsewhere"])
def test_images_that_were_missing_are_found_by_the_next_run(tmp_path: Path, where: str):
    """Where the pool names them, or in the folder that the error's flag names."""
    turns = [{"from": "human", "value": "<image>Who?"}, {"from": "gpt", "value": "Nobody."}]
    path = _pool_file(tmp_path, [_record(f"s{i}", image=f"{i}.png", conversations=turns) for i in range(12)])
    with pytest.raises(UserError, match=r"none of the images .* exists.*--config\.pool\.images=FOLDER"):
        ingest.run(_context(tmp_path, path))
    (tmp_path / where).mkdir(exist_ok=True)
    for i in range(12):
        Image.new("RGB", (8, 8)).save(tmp_path / where / f"{i}.png")
    ingest.run(_context(tmp_path, path, **({"images": str(tmp_path / where)} if where else {})))
    assert len(open_pool(tmp_path / "work" / "pool")) == 12


def test_a_dry_run_tells_and_writes_nothing(tmp_path: Path, log: pytest.LogCaptureFixture):
    records = [_record("a"), _record("b", image="gone.jpg"), _record("c", image="gone.jpg", source="t"), _record("d")]
    records[3]["conversations"].insert(0, {"from": "gpt", "value": "Hello."})
    path = _pool_file(tmp_path, [*records, _record("e", source="t")])
    ingest.run(_context(tmp_path, path, dry_run=True, repair="llava"))
    assert not (tmp_path / "work").exists()
    assert "3 samples (3 without an image, 0 with one, 0 with several), 2 rejected, 1 repaired" in log.text
    lines = [" ".join(r.message.split()) for r in log.records]
    assert "ingest: source s 2" in lines
    assert "ingest: repaired, dropped_leading_turn 1" in lines
    assert "ingest: rejected, missing_image 2" in lines
    assert f'ingest: "b" (record 1): gone.jpg is not in {tmp_path}' in lines


def test_without_a_path_the_synthetic_pool_is_ingested(tmp_path: Path, log: pytest.LogCaptureFixture):
    config = {"pool": {"synthetic": {"size": 12, "seed": 3}}}
    contexts = [StageContext(config, Workdir(tmp_path / name)) for name in ("one", "two")]
    ingest.run(dataclasses.replace(contexts[0], dry_run=True))
    assert "a synthetic pool of 12 samples would be generated" in log.text
    assert not (tmp_path / "one").exists()
    for context in contexts:
        ingest.run(context)
    assert len(open_pool(tmp_path / "one" / "pool")) == 12
    assert (tmp_path / "one" / "synthetic" / "truth.parquet").exists()
    assert _files(tmp_path / "one") == _files(tmp_path / "two")
    log.clear()
    ingest.run(contexts[0])
    assert log.text.count("done before") == 2
    with pytest.raises(UserError, match=r"synthetic was made with other settings .*config\.size"):
        ingest.run(StageContext({"pool": {"synthetic": {"size": 13, "seed": 3}}}, Workdir(tmp_path / "one")))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"path": "gone.json"}, r"gone\.json: no such file; --config\.pool\.path"),
        ({"path": None}, r"config\.pool: path is not set; give --config\.pool\.path"),
        ({"images": "nowhere"}, r"nowhere: no such folder; --config\.pool\.images"),
        ({"repairs": "llava"}, r"there is no field 'repairs'; did you mean 'repair'"),
        ({"repair": "lava"}, r"config\.pool\.repair: 'lava' is not one of 'strict', 'llava'"),
        ({"max_pixels": 0}, r"config\.pool: max_pixels is 0; expected 1 to"),
        ({"source": {"path_parts": 0}}, r"config\.pool\.source: path_parts is 0"),
    ],
)
def test_a_users_mistake_is_one_line(tmp_path: Path, fields: dict[str, Any], message: str):
    config = {"path": str(_pool_file(tmp_path, [_record("a")]))} | fields
    with pytest.raises(UserError, match=message) as e:
        ingest.run(StageContext({"pool": config}, Workdir(tmp_path / "work")))
    assert "\n" not in str(e.value)


# Small blocks and shards, each slow enough to be killed in.
_SLOWLY = """
import sys, time
from pathlib import Path
from mmssr_jax.core.stage import StageContext
from mmssr_jax.core.workdir import Workdir
from mmssr_jax.pool import check, tfds_builder
from mmssr_jax.stages import ingest

check.BLOCK, tfds_builder.SHARD_BYTES = 4, 1000
slow_check, slow_example = check._check, tfds_builder.to_example
check._check = lambda *a: (time.sleep(0.02), slow_check(*a))[1]
tfds_builder.to_example = lambda p: (time.sleep(0.02), slow_example(p))[1]
config = {"path": sys.argv[1], "packed": True, "follow_links": True}
ingest.run(StageContext({"pool": config}, Workdir(Path(sys.argv[2]))))
"""


@pytest.mark.parametrize("seen", ["checks/block-000001.parquet", "pool-train.array_record-00001-of-"])
def test_a_killed_run_completes_to_the_same_bytes(tmp_path: Path, shared: Path, seen: str):
    records = [r for r in json.loads((shared / "pool" / "pool.json").read_text()) if r["source"] == "flags"][:24]
    source = tmp_path / "foreign.json"
    source.write_text(json.dumps(records))
    (tmp_path / "images").symlink_to(shared / "pool" / "images")

    def start(workdir: Path) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-c", _SLOWLY, str(source), str(workdir)]
        return subprocess.Popen(command, stderr=subprocess.DEVNULL)

    assert start(tmp_path / "whole").wait() == 0
    process = start(tmp_path / "killed")
    pool = tmp_path / "killed" / "pool"
    while process.poll() is None and not any(seen in str(p) for p in pool.rglob("*")):
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (pool / "manifest.json").exists()
    with pytest.raises(UserError, match="not finished"):
        open_pool(pool)
    assert start(tmp_path / "killed").wait() == 0
    assert _files(pool) == _files(tmp_path / "whole" / "pool")
