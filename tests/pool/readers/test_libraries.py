"""Pools that the libraries `datasets` and `webdataset` wrote (`pip install 'mmssr_jax[roundtrip]'`)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from mmssr_jax.core.stage import StageContext
from mmssr_jax.core.workdir import Workdir
from mmssr_jax.pool.pool import Pool, open_pool
from mmssr_jax.stages import ingest
from tests.pool.conftest import encoded


def ingested(tmp_path: Path, path: Path, **settings: Any) -> Pool:
    """The pool; nothing of it is rejected."""
    work = Workdir(tmp_path / "w")
    ingest.run(StageContext({"pool": {"path": str(path), "packed": True, **settings}}, work))
    assert (work.pool / "rejects.jsonl").read_text() == ""
    return open_pool(work.pool)


@pytest.mark.parametrize("layout", ["conversations", "messages", "finevision"])
def test_parquet_that_datasets_wrote(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, layout: str):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    datasets = pytest.importorskip("datasets", reason="the extra `roundtrip` (datasets) is not installed")
    images = [[encoded(0), encoded(1)], [encoded(2)], []]
    columns: dict[str, list[Any]] = {"images": [[{"bytes": b, "path": None} for b in row] for row in images]}
    names = {"conversations": ("from", "value", "human", "gpt"), "messages": ("role", "content", "user", "assistant")}
    if layout == "finevision":
        columns |= {"texts": [[{"user": f"q{i}", "assistant": "a"}] for i in range(3)], "source": ["ai2d"] * 3}
    else:
        role, text, user, assistant = names[layout]
        columns |= {"id": ["x", "y", "z"], "source": ["ai2d"] * 3}
        columns[layout] = [
            [{role: user, text: "<image>\n" * len(row) + f"q{i}"}, {role: assistant, text: "a"}]
            for i, row in enumerate(images)
        ]
    data = datasets.Dataset.from_dict(columns).cast_column("images", datasets.List(datasets.Image()))
    data.to_parquet(str(tmp_path / "x.parquet"))
    pool = ingested(tmp_path, tmp_path / "x.parquet")
    assert [[i.read() for i in s.images] for s in pool] == images
    assert [s.turns[0].text for s in pool] == ["<image>\n<image>\nq0", "<image>\nq1", "q2"]
    assert {s.source for s in pool} == {"ai2d"}


def test_shards_that_webdataset_wrote(tmp_path: Path):
    wds = pytest.importorskip("webdataset", reason="the extra `roundtrip` (webdataset) is not installed")
    (tmp_path / "ai2d").mkdir()
    turns = [{"from": "human", "value": "<image>\nq"}, {"from": "gpt", "value": "a"}]
    with wds.TarWriter(str(tmp_path / "ai2d" / "000000.tar")) as tar:
        tar.write({"__key__": "48-0", "jpg": encoded(0), "json": {"id": "own", "conversations": turns}})
        tar.write({"__key__": "48-1", "jpg": encoded(1), "txt": "a caption"})
    pool = ingested(tmp_path, tmp_path, webdataset={"id": "key"})
    assert (pool.ids.tolist(), pool.sources.tolist()) == (["48-0", "48-1"], ["ai2d", "ai2d"])
    assert [[i.read() for i in s.images] for s in pool] == [[encoded(0)], [encoded(1)]]
    assert [s.turns[1].text for s in pool] == ["a", "a caption"]
