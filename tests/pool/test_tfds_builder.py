from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import tensorflow_datasets as tfds

from mmssr_jax.core.sample import ImageRef, Sample, Turn
from mmssr_jax.pool import tfds_builder
from mmssr_jax.pool.pool import _Packed
from mmssr_jax.pool.tfds_builder import PackedSample, PoolBuilder, from_example, to_example


def _samples(n: int) -> list[PackedSample]:
    """Samples with 0, 1, 2, 0, ... images."""
    return [
        PackedSample(
            Sample(
                id=f"id {i} é",
                source="s\0/,",
                turns=(Turn("user", "<image>" * (i % 3) + "?"), Turn("assistant", "\0a")) * (1 + i % 2),
                images=tuple(ImageRef(data=bytes([i, j, 255, 0])) for j in range(i % 3)),
            ),
            record=b'{"id": %d, "odd": "\\ud800"}' % i,
        )
        for i in range(n)
    ]


def _build(folder: Path, samples: list[PackedSample], shards: int, monkeypatch: pytest.MonkeyPatch) -> PoolBuilder:
    monkeypatch.setattr(tfds_builder, "SHARD_BYTES", 100)
    folder.mkdir(exist_ok=True)
    return PoolBuilder(
        folder, samples=lambda first: iter(samples[first:]), n_samples=len(samples), n_bytes=100 * shards
    )


def _files(folder: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in sorted(folder.iterdir())}


@pytest.mark.parametrize(("n", "shards"), [(7, 1), (7, 3), (2, 5)])
def test_tfds_reads_the_shards_in_order(tmp_path: Path, n: int, shards: int, monkeypatch: pytest.MonkeyPatch):
    samples = _samples(n)
    _build(tmp_path / "pool", samples, shards, monkeypatch).download_and_prepare()
    source = tfds.builder_from_directory(str(tmp_path / "pool")).as_data_source(split="train")
    assert [from_example(source[i]) for i in range(len(source))] == samples
    written = [name for name in _files(tmp_path / "pool") if "array_record" in name]
    last = min(n, shards)
    assert written == [f"pool-train.array_record-{i:05d}-of-{last:05d}" for i in range(last)]


def test_tfds_slices_the_split(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    samples = _samples(10)
    _build(tmp_path / "pool", samples, 3, monkeypatch).download_and_prepare()
    source = tfds.builder_from_directory(str(tmp_path / "pool")).as_data_source(split="train[50%:]")
    assert [from_example(e) for e in source] == samples[5:]


def test_a_run_cut_off_keeps_its_shards_and_ends_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    samples = _samples(10)
    _build(tmp_path / "whole", samples, 4, monkeypatch).download_and_prepare()

    def cut(first: int) -> Iterator[PackedSample]:
        yield from samples[first:6]
        raise KeyboardInterrupt

    builder = _build(tmp_path / "resumed", samples, 4, monkeypatch)
    builder._samples = cut
    with pytest.raises(KeyboardInterrupt):
        builder.download_and_prepare()
    kept = _files(tmp_path / "resumed")
    assert list(kept) == [f"pool-train.array_record-{i:05d}-of-00004" for i in range(2)]

    asked: list[int] = []

    def rest(first: int) -> Iterator[PackedSample]:
        asked.append(first)
        return iter(samples[first:])

    builder = _build(tmp_path / "resumed", samples, 4, monkeypatch)
    builder._samples = rest
    builder.download_and_prepare()
    assert asked == [5]
    assert _files(tmp_path / "resumed") == _files(tmp_path / "whole")


def _clips() -> PackedSample:
    """A still image between two videos, one of them a folder of frames; the record says that they are equally long."""
    places = [(("a", 0), 0.0), (("a", 2), 0.45), (None, None), (("b", 0), None)]
    images = tuple(ImageRef(data=bytes([n]), clip=clip, time=time) for n, (clip, time) in enumerate(places))
    turns = (Turn("user", "<image>" * 4 + "?"), Turn("assistant", "a"))
    return PackedSample(Sample("c", "s", turns, images), b'{"conversations": []}')


def test_frames_keep_their_video_and_their_times(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    _build(tmp_path / "pool", [*_samples(2), _clips()], 1, monkeypatch).download_and_prepare()
    source = tfds.builder_from_directory(str(tmp_path / "pool")).as_data_source(split="train")
    found = [from_example(source[i]).sample.images for i in range(3)]
    assert [(image.clip, image.time) for image in found[2]] == [
        (("0", 0), 0.0), (("0", 2), 0.45), (None, None), (("1", 0), None),
    ]  # fmt: skip
    assert [image.clip for image in found[1]] == [None]


def test_a_pool_of_an_earlier_version_has_clips_without_times(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    turns = [{"from": "human", "value": "<video>?"}, {"from": "gpt", "value": "a"}]
    record = json.dumps({"video": "clip.mp4", "conversations": turns}).encode()
    sample = dataclasses.replace(_clips().sample, turns=(Turn("user", "<image>" * 4 + "?"), Turn("assistant", "a")))
    earlier, written = tfds_builder.features(frames=False), to_example(PackedSample(sample, record))
    with monkeypatch.context() as patch:
        patch.setattr(tfds_builder, "features", lambda: earlier)
        patch.setattr(tfds_builder, "to_example", lambda _: {name: written[name] for name in earlier})
        patch.setattr(tfds_builder, "_frames", lambda images: None)
        _build(tmp_path / "pool", [PackedSample(sample, record)], 1, monkeypatch).download_and_prepare()
    found = _Packed(tmp_path / "pool").sample(0, {})
    assert [(image.clip, image.time) for image in found.images] == [(("clip.mp4", n), None) for n in range(4)]


def test_neither_tensorflow_nor_torch_is_imported():
    code = "import sys, mmssr_jax.pool.tfds_builder; print(sorted({'tensorflow', 'torch'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


@pytest.mark.parametrize("name", ["dataset_info.json", "features.json"])
@pytest.mark.parametrize("content", ["", '{"pythonClassName":', "null"])
def test_a_description_that_a_kill_cut_off_is_written_again(
    tmp_path: Path, name: str, content: str, monkeypatch: pytest.MonkeyPatch
):
    samples = _samples(4)
    _build(tmp_path / "pool", samples, 2, monkeypatch).download_and_prepare()
    whole = _files(tmp_path / "pool")
    (tmp_path / "pool" / name).write_text(content)
    (tmp_path / "pool" / ".description-of-a-killed-run").mkdir()
    _build(tmp_path / "pool", samples, 2, monkeypatch).download_and_prepare()
    assert _files(tmp_path / "pool") == whole
