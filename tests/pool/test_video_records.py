"""Pools whose records name videos."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mmssr_jax.core.sample import IMAGE_TAG
from mmssr_jax.images.frame_rate import FrameRate
from mmssr_jax.images.frames import even_frames
from mmssr_jax.images.resize import sample_images
from mmssr_jax.pool.config import IngestConfig, RecordConfig
from tests.images.test_frames import MAX, broken, numbers, write_video
from tests.pool.conftest import encoded, record

pytest.importorskip("av", reason="PyAV is not installed: pip install -e .[video]")


@pytest.fixture
def records(folder: Path):
    (folder / "videos" / "frames").mkdir(parents=True)
    write_video(folder / "videos" / "a.mp4")
    for n in range(3):
        (folder / "videos" / "frames" / f"{n}.jpg").write_bytes(encoded(n))
    broken(folder / "videos" / "broken.mp4", "cut")
    (folder / "out.mp4").symlink_to("/etc/hostname")
    asked = [{"from": "human", "value": f"{IMAGE_TAG}\nWhat happens?"}, {"from": "gpt", "value": "It grows light."}]
    video = {name: record(name, video=path, conversations=asked) for name, path in {
        "clip": "videos/a.mp4", "frames": "videos/frames", "broken": "videos/broken.mp4", "gone": "videos/b.mp4",
        "outside": "../a.mp4", "link": "out.mp4", "number": 3,
    }.items()}  # fmt: skip
    both = record("both", ("images/0.jpg",), video="videos/a.mp4")
    untold = record("untold", video="videos/a.mp4")
    return [record("one", ("images/0.jpg",)), *video.values(), both, untold]


@pytest.mark.parametrize("packed", [False, True])
def test_a_pool_with_videos(records, make_pool, packed):
    pool = make_pool(records, packed=packed, config=IngestConfig(RecordConfig(frames=4)))
    assert pool.index["id"].to_pylist() == ["one", "clip", "frames"]
    assert pool.index["n_images"].to_pylist() == [1, 4, 4]
    clip = pool[1]
    assert clip.turns[0].text == IMAGE_TAG * 4 + "\nWhat happens?"
    assert numbers(sample_images(clip, max_pixels=MAX)) == even_frames(12, 4)
    assert len(sample_images(pool[2], max_pixels=MAX)) == 4
    assert pool.record(1) == records[1], "the original record stays as it was"
    lines = (pool.folder / "rejects.jsonl").read_text().splitlines()
    rejects = {r["id"]: r["reason"] for r in map(json.loads, lines)}
    assert rejects == {
        "broken": "unreadable_video", "gone": "missing_video", "outside": "path_outside", "link": "path_outside",
        "number": "bad_video_field", "both": "bad_video_field", "untold": "image_tag_mismatch",
    }  # fmt: skip


@pytest.mark.parametrize("packed", [False, True])
def test_the_frame_rate_sets_the_number_of_frames(records, folder, make_pool, packed):
    write_video(folder / "videos" / "long.mp4", 40)  # 4 s
    asked = [{"from": "human", "value": f"{IMAGE_TAG} or {IMAGE_TAG}?"}, {"from": "gpt", "value": "Both."}]
    two = record("two", videos=["videos/a.mp4", "videos/long.mp4"], conversations=asked)
    rules = RecordConfig(frames=5, frame_rate=FrameRate())
    pool = make_pool([*records, two], packed=packed, config=IngestConfig(rules))
    assert pool.index["id"].to_pylist() == ["one", "clip", "frames", "two"]
    assert pool.index["n_images"].to_pylist() == [1, 4, 5, 12]
    assert pool[3].turns[0].text == IMAGE_TAG * 4 + " or " + IMAGE_TAG * 8 + "?"
    assert numbers(sample_images(pool[3], max_pixels=MAX)) == [
        k % 20 for total in (12, 40) for k in FrameRate().indices(total, 10)
    ]
    lines = (pool.folder / "rejects.jsonl").read_text().splitlines()
    rejects = {r["id"]: r["reason"] for r in map(json.loads, lines)}
    assert (rejects["broken"], rejects["gone"]) == ("unreadable_video", "missing_video")
