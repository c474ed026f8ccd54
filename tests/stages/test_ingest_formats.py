"""One small pool in every format that the stage reads."""

from __future__ import annotations

import io
import json
import shutil
import sys
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mmssr_jax.core.errors import UserError
from mmssr_jax.core.sample import Sample
from mmssr_jax.core.stage import StageContext
from mmssr_jax.core.workdir import Workdir
from mmssr_jax.pool import readers
from mmssr_jax.pool.pool import Pool, open_pool
from mmssr_jax.selection.formats import hf_parquet, mixture, webdataset
from mmssr_jax.selection.item import Item
from mmssr_jax.stages import ingest
from tests.pool.conftest import encoded

_FORM = pa.struct([("bytes", pa.binary()), ("path", pa.string())])


def _records(n: int = 6) -> list[dict[str, Any]]:
    """Every third without a image, the one before last cut off."""
    records = []
    for i in range(n):
        image = {"image": f"{i}.jpg"} if i % 3 else {}
        turns = [{"from": "human", "value": "<image>\n" * len(image) + f"q{i}?"}, {"from": "gpt", "value": "Café."}]
        records.append({"id": f"r{i}", **image, "conversations": turns, "data_source": f"s{i % 2}"})
    return records


def _image(i: int) -> bytes:
    data = encoded(i)
    return data[:-50] if i == 4 else data


def _as_json(folder: Path, records: list[dict[str, Any]]) -> Path:
    for i in range(len(records)):
        (folder / f"{i}.jpg").write_bytes(_image(i))
    (folder / "pool.json").write_text(json.dumps(records))
    return folder / "pool.json"


def _as_mixture(folder: Path, records: list[dict[str, Any]]) -> Path:
    _as_json(folder, records)
    (folder / "a.json").write_text(json.dumps(records[:2]))
    (folder / "b.jsonl").write_text("".join(json.dumps(r) + "\n" for r in records[2:]))
    (folder / "pool.yaml").write_text("datasets:\n  - json_path: a.json\n  - json_path: b.jsonl\n")
    return folder / "pool.yaml"


def _as_parquet(folder: Path, records: list[dict[str, Any]]) -> Path:
    images = [{"bytes": _image(i), "path": r["image"]} if "image" in r else None for i, r in enumerate(records)]
    table = pa.Table.from_pylist([{k: v for k, v in r.items() if k != "image"} for r in records])
    table = table.append_column("image", pa.array(images, _FORM))
    for part in range(2):
        path = folder / "parquet" / f"source({part})" / "train-00000-of-00001.parquet"
        path.parent.mkdir(parents=True)
        pq.write_table(table.slice(3 * part, 3), path)
    return folder / "parquet"


def _as_tar(folder: Path, records: list[dict[str, Any]]) -> Path:
    (folder / "tar").mkdir()
    for shard in range(2):
        with tarfile.open(folder / "tar" / f"{shard:05d}.tar", "w") as tar:
            for i in range(3 * shard, 3 * shard + 3):
                members = {"json": json.dumps(records[i]).encode()}
                if "image" in records[i]:
                    members["jpg"] = _image(i)
                for extension, content in members.items():
                    info = tarfile.TarInfo(f"{i}.{extension}")
                    info.size = len(content)
                    tar.addfile(info, io.BytesIO(content))
    return folder / "tar"


def _ingest(root: Path, path: Path, **fields: Any) -> Pool:
    ingest.run(StageContext({"pool": {"path": str(path), **fields}}, Workdir(root)))
    return open_pool(root / "pool")


def _loaded(sample: Sample) -> tuple[Any, ...]:
    turns = tuple((t.role, t.text) for t in sample.turns)
    return sample.id, sample.source, turns, tuple(image.read() for image in sample.images)


@pytest.mark.parametrize("write", [_as_json, _as_mixture, _as_parquet, _as_tar])
@pytest.mark.parametrize("packed", [False, True])
def test_every_format_gives_the_same_samples(tmp_path: Path, write: Callable[..., Path], packed: bool):
    expected = _ingest(tmp_path / "expected", _as_json(tmp_path, _records()))
    path = write(tmp_path, _records())
    if not packed and write in (_as_parquet, _as_tar):
        with pytest.raises(UserError, match=r"can only be used packed; --config\.pool\.packed=true"):
            _ingest(tmp_path / "work", path)
        return
    pool = _ingest(tmp_path / "work", path, packed=packed)
    assert pool.ids.tolist() == ["r0", "r1", "r2", "r3", "r5"]
    assert [_loaded(s) for s in pool] == [_loaded(s) for s in expected]
    (reject,) = (json.loads(line) for line in (tmp_path / "work" / "pool" / "rejects.jsonl").read_text().splitlines())
    assert (reject["id"], reject["source"], reject["reason"]) == ("r4", "s0", "unreadable_image")
    assert [{**pool.record(i)} for i in range(5)] == [expected.record(i) for i in range(5)]


def test_a_packed_pool_is_ingested_like_any_other(tmp_path: Path):
    first = _ingest(tmp_path / "first", _as_json(tmp_path, _records()), packed=True)
    again = _ingest(tmp_path / "again", first.folder, packed=True)
    assert [_loaded(s) for s in again] == [_loaded(s) for s in first]
    shards = [sorted(p.name for p in x.folder.glob("*array_record*")) for x in (first, again)]
    assert shards[0] == shards[1]
    assert all((first.folder / name).read_bytes() == (again.folder / name).read_bytes() for name in shards[0])


@pytest.mark.parametrize("format", ["hf_parquet", "webdataset", "mixture"])
def test_what_a_selection_writes_is_read_back(tmp_path: Path, format: str):
    records = [*_records(), {**_records()[1], "id": "two/.x", "image": ["1.jpg", "2.jpg"]}]
    records[-1]["conversations"] = [{"from": "human", "value": "<image><image>?"}, {"from": "gpt", "value": "a"}]
    pool = _ingest(tmp_path / "first", _as_json(tmp_path, records))
    by_source = {
        source: [Item(pool[i], pool.record_bytes(i)) for i in range(len(pool)) if pool.sources[i] == source]
        for source in ("s0", "s1")
    }
    path = tmp_path / "written"
    if format == "hf_parquet":
        hf_parquet.write(path, by_source)
    elif format == "webdataset":
        webdataset.write(path, [i for items in by_source.values() for i in items], per_shard=2)
    else:
        mixture.write(path, by_source)
        path = path / mixture.FILE
    again = _ingest(tmp_path / "again", path, packed=True, images=str(tmp_path) if format == "mixture" else None)
    assert sorted(map(_loaded, again)) == sorted(map(_loaded, pool))


def test_another_way_to_read_the_same_files_is_refused(tmp_path: Path):
    path = _as_mixture(tmp_path, _records())
    _ingest(tmp_path / "work", path)
    path.write_text("datasets:\n  - {json_path: a.json, sampling_strategy: 'first:1'}\n  - json_path: b.jsonl\n")
    with pytest.raises(UserError, match=r"config\.reader\.parts"):
        _ingest(tmp_path / "work", path)


def test_rejects_name_the_file_and_the_record_in_it(tmp_path: Path):
    records = _records()
    records[3]["conversations"] = []
    _ingest(tmp_path / "work", _as_mixture(tmp_path, records))
    lines = (tmp_path / "work" / "pool" / "rejects.jsonl").read_text().splitlines()
    assert [(r["file"], r["record"], r["id"]) for r in map(json.loads, lines)] == [
        ("b.jsonl", 1, "r3"),
        ("b.jsonl", 2, "r4"),
    ]


@pytest.mark.parametrize("name", ["pool.json", "folder"])
def test_what_is_not_there_or_not_a_pool_is_one_line(tmp_path: Path, name: str):
    (tmp_path / "folder").mkdir()
    with pytest.raises(UserError, match=r"--config\.pool\.path"):
        _ingest(tmp_path / "work", tmp_path / name)
    assert not (tmp_path / "work" / "pool" / "manifest.json").exists()


def test_a_mixture_may_lack_files_on_request(tmp_path: Path):
    path = _as_mixture(tmp_path, _records())
    shutil.move(tmp_path / "a.json", tmp_path / "elsewhere.json")
    with pytest.raises(UserError, match=r"1 of 2 files are missing: \S+a\.json; --config\.pool\.missing_files=skip"):
        _ingest(tmp_path / "work", path)
    assert _ingest(tmp_path / "work", path, missing_files="skip").ids.tolist() == ["r2", "r3", "r5"]


_EXTRA_READER = """
import dataclasses, json
from mmssr_jax.pool.reader import Match, PoolFormat
from mmssr_jax.pool.record import Record


@dataclasses.dataclass(frozen=True)
class Settings:
    separator: str = "|"


class Lines:
    in_place = False

    def __init__(self, path, settings):
        self.files, self.settings = (path.resolve(),), settings

    def images_root(self, file):
        return self.files[0].parent

    def records(self, *, images, label=None, only=None):
        for number, line in enumerate(self.files[0].read_text().splitlines()):
            question, answer = line.split(self.settings.separator)
            turns = [{"from": "human", "value": question}, {"from": "gpt", "value": answer}]
            value = {"id": str(number), "conversations": turns}
            yield Record(0, number, -1, json.dumps(value).encode(), value, images=())


READER = PoolFormat(lambda path: Match.EXACT if path.suffix == ".lines" else Match.NONE, Settings, Lines)
"""


@pytest.fixture
def extra_reader(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """One more module in the folder of the readers."""
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "extra.py").write_text(_EXTRA_READER)
    monkeypatch.setattr(readers, "__path__", [*readers.__path__, str(tmp_path / "more")])
    yield
    sys.modules.pop(f"{readers.__name__}.extra", None)


@pytest.mark.usefixtures("extra_reader")
def test_a_reader_dropped_into_the_folder_is_used(tmp_path: Path):
    (tmp_path / "pool.lines").write_text("q0;a0\nq1;a1\n")
    pool = _ingest(tmp_path / "work", tmp_path / "pool.lines", packed=True, separator=";")
    assert [[t.text for t in s.turns] for s in pool] == [["q0", "a0"], ["q1", "a1"]]
    with pytest.raises(UserError, match=r"config\.pool: there is no field 'separater'; did you mean 'separator'"):
        _ingest(tmp_path / "other", tmp_path / "pool.lines", packed=True, separater=";")


@pytest.mark.usefixtures("extra_reader")
def test_a_readers_settings_are_typed_like_the_others(tmp_path: Path):
    with pytest.raises(UserError, match=r"config\.pool\.separator: expected str, got 3"):
        _ingest(tmp_path / "work", _as_json(tmp_path, _records()), separator=3)


def test_a_folder_with_two_formats_is_one_line(tmp_path: Path):
    folder = _as_parquet(tmp_path, _records())
    shutil.copy(next(_as_tar(tmp_path, _records()).glob("*.tar")), folder)
    with pytest.raises(UserError, match=r"can be hf_parquet or webdataset; --config\.pool\.path=PATH"):
        _ingest(tmp_path / "work", folder, packed=True)


def test_a_packed_pool_with_videos_and_system_prompts_is_read_back(tmp_path: Path):
    records = _records(3)
    records[0]["conversations"].insert(0, {"from": "system", "value": "Be brief."})
    records[0]["conversations"][1]["value"] = "<video>\nq?"
    records[0]["video"] = "frames"
    (tmp_path / "frames").mkdir()
    for i in range(5):
        (tmp_path / "frames" / f"{i}.jpg").write_bytes(encoded(i))
    first = _ingest(tmp_path / "first", _as_json(tmp_path, records), packed=True, frames=3)
    again = _ingest(tmp_path / "again", first.folder, packed=True, frames=3)
    assert [s.system for s in again] == [s.system for s in first] == ["Be brief.", None, None]
    assert [_loaded(s) for s in again] == [_loaded(s) for s in first]
    assert [len(s.images) for s in again] == [3, 1, 1]
