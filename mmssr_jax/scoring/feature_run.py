"""Features of a pool into shards, each whole or absent."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Protocol

import grain
import numpy as np
import pyarrow as pa
from absl import logging

from mmssr_jax.core import files, tables
from mmssr_jax.core.progress import Progress
from mmssr_jax.core.sample import Sample
from mmssr_jax.data.batch import BatchShape
from mmssr_jax.data.subset import SampleSource, Subset
from mmssr_jax.scoring.score_pool import is_done, shard_rows
from mmssr_jax.scoring.scorer import Buckets

_AHEAD = 64


class FeatureExtractor(Protocol):
    """One kind of feature: what is read of a sample (one or more things with `pixels`), and what that becomes."""

    @property
    def kind(self) -> str:
        """What the folder and the rejects call it."""

    def examples(self, sample: Sample, *, max_pixels: int) -> tuple[Any, ...]:
        """What is read; raises OSError or ValueError where that fails."""

    def shape(self, example: Any, buckets: Buckets) -> BatchShape:
        """The shape that holds it; raises ValueError where none does."""

    def run(self, examples: list[Any], shape: BatchShape) -> np.ndarray:
        """The features of a batch, [examples, ...]."""

    def columns(self, values: list[np.ndarray], examples: list[tuple[Any, ...]]) -> dict[str, pa.Array]:
        """Table columns of n samples; `values` has [n, ...] for each thing read of a sample, `examples` no pictures."""


@dataclasses.dataclass(frozen=True)
class _Read:
    """sample -> its sequences, or why there is none; runs in grain's threads."""

    reader: FeatureExtractor
    buckets: Buckets
    max_pixels: int

    def __call__(self, sample: Sample) -> tuple[Sample, tuple[Any, ...] | str]:
        try:
            examples = self.reader.examples(sample, max_pixels=self.max_pixels)
            for example in examples:
                self.reader.shape(example, self.buckets)
        except (OSError, ValueError) as e:
            return sample, str(e)
        return sample, examples


class _Batches:
    """Sequences on their way through a reader; `values[k]` has the features of each sample's sequence k."""

    def __init__(self, reader: FeatureExtractor, buckets: Buckets, count: int):
        self._reader, self._buckets, self._count = reader, buckets, count
        self._waiting: dict[tuple[int, BatchShape], list[tuple[int, Any]]] = {}
        self.values: list[np.ndarray] = []

    def add(self, number: int, examples: tuple[Any, ...]) -> None:
        for k, example in enumerate(examples):
            shape = self._reader.shape(example, self._buckets)
            group = self._waiting.setdefault((k, shape), [])
            group.append((number, example))
            if len(group) == shape.rows:
                self._run(k, shape)

    def finish(self) -> None:
        for k, shape in sorted(self._waiting, key=lambda key: (key[0], dataclasses.astuple(key[1]))):
            self._run(k, shape)

    def _run(self, k: int, shape: BatchShape) -> None:
        group = self._waiting.pop((k, shape))
        found = self._reader.run([e for _, e in group], shape)
        while len(self.values) <= k:
            self.values.append(np.zeros((self._count, *found.shape[1:]), np.float32))
        self.values[k][[n for n, _ in group]] = found


def write_features(
    pool: SampleSource, reader: FeatureExtractor, folder: Path, *, shards: int, buckets: Buckets, max_pixels: int,
    todo: Iterable[int], threads: int = 2,
) -> None:  # fmt: skip
    """Writes `part-*.parquet` (`id` and the reader's columns) and beside each what was rejected, for shards in `todo`.

    Args:
      pool: a Pool; rows are in its order, samples that cannot be read are left out.
      reader: of one kind of feature.
      folder: where the parts go.
      shards, max_pixels, todo, threads: as in `run.score_pool`.
      buckets: shapes.
    """
    done = sum(len(shard_rows(len(pool), s, shards)) for s in range(shards) if is_done(folder, s, shards))
    progress = Progress(f"features: {reader.kind}", len(pool), done=done)
    read = _Read(reader, buckets, max_pixels)
    for shard in todo:
        rows = Subset(pool, shard_rows(len(pool), shard, shards))
        batches = _Batches(reader, buckets, len(rows))
        ids: list[str] = []
        known: list[tuple[Any, ...]] = []
        rejects = []
        numbers = grain.MapDataset.range(len(rows)).map(lambda n, rows=rows: read(rows[int(n)]))
        options = grain.ReadOptions(num_threads=threads, prefetch_buffer_size=_AHEAD)
        for sample, found in numbers.to_iter_dataset(options):
            progress.add()
            if isinstance(found, str):
                logging.warning("sample %s has no %s: %s", sample.id, reader.kind, found)
                rejects.append({"id": sample.id, "source": sample.source, "reason": "no_feature", "detail": found})
                continue
            batches.add(len(ids), found)
            ids.append(sample.id)
            known.append(tuple(dataclasses.replace(e, pixels=e.pixels[:0]) for e in found))  # pictures are large
        batches.finish()
        path = folder / tables.part_name(shard, shards)
        values = [v[: len(ids)] for v in batches.values]
        columns = reader.columns(values, known) if ids else {}
        files.write_jsonl(path.with_suffix(".rejects.jsonl"), rejects)
        files.write_parquet(path, pa.table({"id": pa.array(ids, pa.string()), **columns}))
