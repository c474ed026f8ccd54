"""Writes the features of a pool into shards; each is written atomically."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import grain
import jax
import numpy as np
import pyarrow as pa
from absl import logging

from mmssr_jax.core import files, tables
from mmssr_jax.core.progress import Progress
from mmssr_jax.core.sample import Sample
from mmssr_jax.core.shards import ShardedJob, part_rows
from mmssr_jax.data.batch import BatchShape
from mmssr_jax.data.subset import SampleSource, Subset
from mmssr_jax.generation.batched import run_batched
from mmssr_jax.images.image_blocks import take
from mmssr_jax.scoring.feature_kind import FeatureExtractor, SeveralPasses
from mmssr_jax.scoring.scorer import Buckets

_PREFETCH = 64


@dataclasses.dataclass(frozen=True)
class _Encode:
    """sample -> its examples, or why it is rejected; runs in grain's threads."""

    extractor: FeatureExtractor
    buckets: Buckets

    def __call__(self, sample: Sample) -> tuple[Sample, tuple[Any, ...] | str]:
        try:
            examples = self.extractor.examples(sample)
            for example in examples:
                self.extractor.shape(example, self.buckets)
        except (OSError, ValueError) as e:
            return sample, str(e)
        return sample, examples


@dataclasses.dataclass(frozen=True)
class _Item:
    """Example number `sequence` of the shard's sample number `row`."""

    row: int
    sequence: int
    example: Any


class _Shard:
    """The samples of one shard: their ids, examples without pixels, and rejects, collected while they are read."""

    def __init__(self, name: str):
        self.name = name
        self.ids: list[str] = []
        self.sources: list[str] = []
        self.examples: list[tuple[Any, ...]] = []
        self.rejects: list[dict[str, str]] = []

    def items(self, encoded: Iterable[tuple[Sample, tuple[Any, ...] | str]], progress: Progress) -> Iterator[_Item]:
        """The examples of the samples that are not rejected."""
        for sample, examples in encoded:
            progress.add()
            if isinstance(examples, str):
                logging.warning("sample %s has no %s: %s", sample.id, self.name, examples)
                reject = {"id": sample.id, "source": sample.source}
                self.rejects.append({**reject, "reason": "no_feature", "detail": examples})
                continue
            if not examples:
                continue
            for sequence, example in enumerate(examples):
                yield _Item(len(self.ids), sequence, example)
            self.ids.append(sample.id)
            self.sources.append(sample.source)
            self.examples.append(tuple(dataclasses.replace(e, pixels=take(e.pixels, slice(0))) for e in examples))


def write_features(
    pool: SampleSource, extractor: FeatureExtractor, folder: Path, *, name: str, job: ShardedJob, buckets: Buckets,
    threads: int = 2,
) -> None:  # fmt: skip
    """Writes `part-*.parquet` (`id` and the extractor's columns) and `part-*.rejects.jsonl` for the missing shards.

    Args:
      pool: the samples; rows are in their order, without the samples that cannot be read.
      extractor: computes the features.
      folder: output folder.
      name: the kind's name, for messages.
      job, threads: as in `score_pool.score_pool`.
      buckets: the shapes.
    """
    done = sum(len(part_rows(len(pool), shard, job.parts)) for shard in job.done())
    passes = _passes(extractor)
    progress = Progress(f"features: {name}", passes * len(pool), done=passes * done)
    for shard in job.todo():
        samples = Subset(pool, part_rows(len(pool), shard, job.parts))
        found = compute_features(
            samples, extractor, name=name, buckets=buckets, threads=threads, progress=progress
        )  # fmt: skip
        columns = extractor.columns(found.values, found.examples) if found.ids else {}
        if not job.writes:
            continue
        path = folder / tables.part_name(shard, job.parts)
        files.write_jsonl(path.with_suffix(".rejects.jsonl"), found.rejects)
        files.write_parquet(path, pa.table({"id": pa.array(found.ids, pa.string()), **columns}))


@dataclasses.dataclass(frozen=True)
class Computed:
    """What an extractor computed for n samples.

    Attributes:
      ids, sources: of the samples, strings [n].
      values, examples: see `FeatureExtractor.columns`.
      rejects: of the samples that cannot be read.
    """

    ids: list[str]
    sources: list[str]
    values: list[np.ndarray]
    examples: list[tuple[Any, ...]]
    rejects: list[dict[str, str]]


def compute_features(
    samples: SampleSource, extractor: FeatureExtractor, *, name: str, buckets: Buckets, threads: int = 2,
    progress: Progress | None = None,
) -> Computed:  # fmt: skip
    """The results of an extractor for samples in memory; the arguments are those of `write_features`."""
    encode = _Encode(extractor, buckets)
    encoded = grain.MapDataset.range(len(samples)).map(lambda n: encode(samples[int(n)]))
    options = grain.ReadOptions(num_threads=threads, prefetch_buffer_size=_PREFETCH)
    progress = Progress(f"features: {name}", _passes(extractor) * len(samples)) if progress is None else progress
    values: list[np.ndarray] = []
    for number in range(_passes(extractor)):
        if isinstance(extractor, SeveralPasses):
            extractor.begin(number)
        read = _Shard(name)
        items = read.items(encoded.to_iter_dataset(options), progress)
        values += _compute(items, extractor, buckets, len(samples))
    return Computed(read.ids, read.sources, [v[: len(read.ids)] for v in values], read.examples, read.rejects)


def _passes(extractor: FeatureExtractor) -> int:
    return extractor.passes if isinstance(extractor, SeveralPasses) else 1


def _compute(items: Iterable[_Item], extractor: FeatureExtractor, buckets: Buckets, rows: int) -> list[np.ndarray]:
    """For each sequence of a sample the results, float32 [rows, ...]."""

    def bucket(item: _Item) -> tuple[int, BatchShape]:
        return item.sequence, extractor.shape(item.example, buckets)

    def dispatch(batch: list[_Item], key: tuple[int, BatchShape]) -> jax.Array | np.ndarray:
        return extractor.dispatch([item.example for item in batch], key[1])

    def fetch(pending: jax.Array | np.ndarray, batch: list[_Item]) -> list[np.ndarray]:
        return list(np.asarray(pending)[: len(batch)])

    values: dict[int, np.ndarray] = {}
    for _, item, result in run_batched(items, rows=buckets.rows, bucket=bucket, dispatch=dispatch, fetch=fetch):
        if item.sequence not in values:
            values[item.sequence] = np.zeros((rows, *np.shape(result)), np.float32)
        values[item.sequence][item.row] = result
    return [values[sequence] for sequence in sorted(values)]
