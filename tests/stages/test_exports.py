"""Selections in the formats of other programs, ingested again: the same turns and the same images."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mmssr_jax.core.stage import StageContext
from mmssr_jax.core.workdir import Workdir
from mmssr_jax.pool.pool import Pool, open_pool
from mmssr_jax.stages import ingest
from mmssr_jax.stages.select import stage as select_stage
from tests.pool.conftest import encoded

FRAMES = 4


def turns(question: str, answer: str) -> list[dict[str, str]]:
    return [{"from": "human", "value": question}, {"from": "gpt", "value": answer}]


@pytest.fixture
def pool(tmp_path: Path) -> Pool:
    """Samples with two videos (folders of frames), one, one image, none, and a system prompt."""
    for video in "vw":
        for frame in range(6):
            path = tmp_path / video / f"{frame}.jpg"
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(encoded(frame + 10 * (video == "w")))
    (tmp_path / "a.jpg").write_bytes(encoded(30))
    records = [
        {"id": "two", "videos": ["v", "w"], "conversations": turns("<video>\n<video>\nWhich?", "The first.")},
        {"id": "one/video", "video": "w", "conversations": turns("<video>\nWhat?", "This.")},
        {"id": "image", "image": "a.jpg", "source": "s", "conversations": turns("<image>\nWhat?", "That.")},
        {"id": "text", "conversations": [{"from": "system", "value": "Be brief."}, *turns("Why?", "So.")]},
    ]
    (tmp_path / "pool.json").write_text(json.dumps(records))
    work = Workdir(tmp_path / "w")
    ingest.run(StageContext({"pool": {"path": str(tmp_path / "pool.json"), "frames": FRAMES}}, work))
    return open_pool(work.pool)


@pytest.mark.parametrize("name", ["webdataset", "hf_parquet", "packed"])
def test_an_export_of_a_video_pool_reads_back(pool: Pool, tmp_path: Path, name: str):
    work = Workdir(tmp_path / "w")
    selection = {"method": "random", "budget": {"count": len(pool)}, "formats": (name,)}
    select_stage.run(StageContext({"select": {"selections": {"all": selection}}}, work))
    again = Workdir(tmp_path / "again")
    section = {"path": str(work.selection("all") / name), "packed": True}
    section |= {"frames": FRAMES} if name == "packed" else {}  # its records still name the videos
    ingest.run(StageContext({"pool": section}, again))
    assert (again.pool / "rejects.jsonl").read_text() == ""
    found = {s.id: s for s in open_pool(again.pool)}
    assert set(found) == set(pool.ids)
    assert [len(found[id].images) for id in ("two", "one/video", "image", "text")] == [2 * FRAMES, FRAMES, 1, 0]
    for sample in pool:
        assert found[sample.id].turns == sample.turns
        assert found[sample.id].system == sample.system
        assert found[sample.id].source == sample.source
        assert [i.read() for i in found[sample.id].images] == [i.read() for i in sample.images]
