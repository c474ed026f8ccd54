"""Writes a packed pool as a TFDS dataset: ArrayRecord shards in the pool's order, and its metadata."""

from __future__ import annotations

import dataclasses
import json
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow_datasets as tfds
from array_record.python import array_record_module
from tensorflow_datasets.core import example_serializer

from mmssr_jax.core import files
from mmssr_jax.core.progress import Progress
from mmssr_jax.core.sample import ImageRef, Sample, Turn
from mmssr_jax.pool.conversation import parse_conversation

NAME = "pool"
SPLIT = "train"
SHARD_BYTES = 256 << 20
_DESCRIPTION = ".description-"


@dataclasses.dataclass(frozen=True)
class PackedSample:
    """One entry of a shard: the sample and the original record."""

    sample: Sample
    record: bytes


# First row -> the samples from that row on.
Samples = Callable[[int], Iterator[PackedSample]]


def features(*, frames: bool = True) -> tfds.features.FeaturesDict:
    """The features of a packed pool; those of earlier versions have no `frames`."""
    text = tfds.features.Text()
    # Of each image, unless all are still images: the number of its video (-1 for a still image) and its place there.
    # The time is a text: a float64 would be stored as a float32, whose rounding can show in the text of a prompt.
    videos = {"frames": tfds.features.Sequence({"video": np.int64, "number": np.int64, "time": text})}
    return tfds.features.FeaturesDict({
        "id": text,
        "source": text,
        "turns": tfds.features.Sequence({"role": text, "text": text}),
        "images": tfds.features.Sequence(text),  # the original encoded bytes
        "record": text,  # the original JSON object
        **(videos if frames else {}),
    })  # fmt: skip


class PoolBuilder(tfds.core.GeneratorBasedBuilder, skip_registration=True):  # type: ignore[call-arg]
    """Packs samples into shards that `tfds.builder_from_directory(folder).as_data_source()` reads.

    The writer of TFDS collects a split in memory, needs TensorFlow's file system beyond 1 GB and restarts from scratch
    after an interruption. Here the number of samples and their size are known in advance, so each shard is written as
    a stream, and shards that an earlier run finished are kept.

    Args:
      folder: the folder of the shards.
      samples: returns the samples from a given row on.
      n_samples: number of samples.
      n_bytes: approximate total size; determines the number of shards.

    Attributes:
      n_shards: number of shards.
    """

    name = NAME
    VERSION = tfds.core.Version("1.0.0")

    def __init__(self, folder: Path, *, samples: Samples, n_samples: int, n_bytes: int):
        self._samples = samples
        self._n_samples = n_samples
        self.n_shards = max(1, min(n_samples, round(n_bytes / SHARD_BYTES)))
        remove_description(folder)
        super().__init__(data_dir=str(folder), file_format="array_record")

    def _build_data_dir(self, given_data_dir: str | None) -> tuple[str, str]:
        """The folder itself, not a folder `pool/1.0.0` in it."""
        assert given_data_dir is not None
        return given_data_dir, given_data_dir

    def _info(self) -> tfds.core.DatasetInfo:
        return self.dataset_info_from_configs(
            features=features(),
            description="Image-text conversations packed by mmssr_jax, in the order of the pool they came from.",
            disable_shuffling=True,
        )

    def _split_generators(self, dl_manager: Any) -> dict[str, Iterator[tuple[int, dict[str, Any]]]]:
        return {SPLIT: self._generate_examples(0)}

    def _generate_examples(self, first: int = 0) -> Iterator[tuple[int, dict[str, Any]]]:
        """(row, example) pairs from row `first` on."""
        for row, packed in enumerate(self._samples(first), first):
            yield row, to_example(packed)

    def download_and_prepare(self, **unused: Any) -> None:
        """Writes the missing shards, then the metadata of the dataset."""
        paths = [self._shard_path(i) for i in range(self.n_shards)]
        done = 0
        while done < self.n_shards and paths[done].exists():
            done += 1
        first = self.rows_of(done).start if done < self.n_shards else self._n_samples
        progress = Progress("ingest: packing", self._n_samples, done=first)
        samples = self._samples(first)
        for shard in range(done, self.n_shards):
            self._write(shard, samples, progress)
        self._describe(self._get_filename_template(SPLIT), [len(self.rows_of(i)) for i in range(self.n_shards)], paths)

    def rows_of(self, shard: int) -> range:
        """The rows of a shard."""
        begin, end = (round(self._n_samples * i / self.n_shards) for i in (shard, shard + 1))
        return range(begin, end)

    def write_shard(self, shard: int) -> None:
        """Writes one shard, unless it exists."""
        if not self._shard_path(shard).exists():
            self._write(shard, self._samples(self.rows_of(shard).start), None)

    def _shard_path(self, shard: int) -> Path:
        template = self._get_filename_template(SPLIT)
        return Path(template.sharded_filepath(shard_index=shard, num_shards=self.n_shards))

    def _write(self, shard: int, samples: Iterator[PackedSample], progress: Progress | None) -> None:
        """Consumes the samples of the shard from the iterator and writes them."""
        serializer = example_serializer.ExampleSerializer(self.info.features.get_serialized_info())
        with files.replacing(self._shard_path(shard)) as temporary:
            writer = array_record_module.ArrayRecordWriter(str(temporary), "group_size:1")
            for _ in self.rows_of(shard):
                example = self.info.features.encode_example(to_example(next(samples)))
                proto = serializer.get_tf_example(example)
                writer.write(proto.SerializeToString(deterministic=True))  # else the hash seed decides the order
                if progress is not None:
                    progress.add()
            writer.close()

    def _describe(self, template: Any, lengths: list[int], paths: list[Path]) -> None:
        split = tfds.core.SplitInfo(
            name=SPLIT,
            shard_lengths=lengths,
            num_bytes=sum(p.stat().st_size for p in paths),
            filename_template=template,
        )
        self.info.set_splits(tfds.core.splits.SplitDict([split]))
        # TFDS writes its files in place, and a builder cannot be opened on half of one: each appears whole, or not.
        with tempfile.TemporaryDirectory(dir=self.data_dir, prefix=_DESCRIPTION) as folder:
            self.info.write_to_directory(folder)
            for path in sorted(Path(folder).iterdir()):
                files.write_bytes(Path(self.data_dir) / path.name, path.read_bytes())


def remove_description(folder: Path) -> None:
    """Removes the metadata that an earlier run may have left incomplete; it is the last thing that is written."""
    for name in ("dataset_info.json", "features.json"):
        (folder / name).unlink(missing_ok=True)
    for left in folder.glob(f"{_DESCRIPTION}*"):
        shutil.rmtree(left, ignore_errors=True)


def to_example(packed: PackedSample) -> dict[str, Any]:
    """The features of one sample."""
    sample = packed.sample
    # The system prompt is stored as a leading turn, so that pools without one keep their bytes.
    system = [{"role": "system", "text": sample.system}] if sample.system is not None else []
    return {
        "id": sample.id,
        "source": sample.source,
        "turns": system + [{"role": t.role, "text": t.text} for t in sample.turns],
        "images": [image.read() for image in sample.images],
        "record": packed.record,
        "frames": _frames(sample.images),
    }


def _frames(images: Sequence[ImageRef]) -> dict[str, list[Any]]:
    """The feature `frames`."""
    if not any(image.clip for image in images):
        return {"video": [], "number": [], "time": []}
    names = list(dict.fromkeys(image.clip[0] for image in images if image.clip))
    clips = [(names.index(image.clip[0]), image.clip[1]) if image.clip else (-1, 0) for image in images]
    times = [image.seconds() for image in images]
    return {
        "video": [video for video, _ in clips],
        "number": [number for _, number in clips],
        "time": ["" if time is None else repr(time) for time in times],
    }


def from_example(example: dict[str, Any]) -> PackedSample:
    """The inverse of `to_example`, for an example of the data source."""
    messages = list(zip(example["turns"]["role"], example["turns"]["text"], strict=True))
    system = _text(messages.pop(0)[1]) if messages[0][0] == b"system" else None
    record, images = bytes(example["record"]), [ImageRef(data=bytes(data)) for data in example["images"]]
    if "frames" not in example:  # of a pool of an earlier version
        clips = _clips(record, len(images))
        images = [dataclasses.replace(image, clip=clip) for image, clip in zip(images, clips, strict=True)]
    elif len(example["frames"]["video"]):
        columns = (example["frames"][name] for name in ("video", "number", "time"))
        images = [_frame(image, *place) for image, *place in zip(images, *columns, strict=True)]
    sample = Sample(
        id=_text(example["id"]),
        source=_text(example["source"]),
        turns=tuple(Turn("user" if role == b"user" else "assistant", _text(text)) for role, text in messages),
        images=tuple(images),
        system=system,
    )
    return PackedSample(sample, record)


def _frame(image: ImageRef, video: int, number: int, time: bytes) -> ImageRef:
    """An image as what the feature `frames` says of it."""
    clip = (str(video), int(number)) if video >= 0 else None
    return dataclasses.replace(image, clip=clip, time=float(time) if time else None)


def _clips(record: bytes, images: int) -> list[tuple[str, int] | None]:
    """Of which video each image is a frame: those of a record's videos have equally many."""
    videos = parse_conversation(json.loads(record), repair=True).videos if b"video" in record else ()
    if not videos:
        return [None] * images
    return [(name, n) for name in videos for n in range(images // len(videos))]


def _text(value: bytes) -> str:
    return value.decode("utf-8")
