"""Scoring a pool into shards: each is whole or absent, so that a run that was cut off goes on at the next one."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import grain
import numpy as np
import pyarrow as pa
from absl import logging

from mmssr_jax.core import files, tables
from mmssr_jax.core.progress import Progress
from mmssr_jax.core.sample import Sample
from mmssr_jax.data.example import Example
from mmssr_jax.data.splitting import see
from mmssr_jax.scoring.rater import Rater, Ratings, style_lists


@dataclasses.dataclass(frozen=True)
class Failed:
    """A sample that cannot be scored."""

    sample: Sample
    reason: str
    detail: str


@dataclasses.dataclass(frozen=True)
class ScoreShard:
    """What is kept beside a shard's table.

    Attributes:
      scored, cut: samples in the table, and how many of them lost text.
      digit_mass: per capability, the sum over samples of the probability that the six digits hold.
      rejects: what is not in the table, with its reason.
    """

    scored: int
    cut: int
    digit_mass: tuple[float, ...]
    rejects: tuple[dict[str, str], ...]


@dataclasses.dataclass(frozen=True)
class _Ask:
    """sample -> its question sequence, or why there is none; runs in grain's threads."""

    rater: Rater
    max_pixels: int

    def __call__(self, sample: Sample) -> tuple[Sample, Example] | Failed:
        try:
            seen, views = see(sample, self.rater.views, self.rater.image_size, max_pixels=self.max_pixels)
        except (OSError, ValueError) as e:
            return Failed(sample, "unreadable_image", str(e))
        try:
            example = self.rater.encoder.question(seen, views)
            self.rater.buckets.shape(example)
        except ValueError as e:
            return Failed(sample, "does_not_fit", str(e))
        return sample, example


def questions(
    samples: Any, rater: Rater, *, max_pixels: int, threads: int = 2
) -> Iterator[tuple[Sample, Example] | Failed]:
    """Reads, decodes and tokenises samples ahead of the model, in order."""
    ask = _Ask(rater, max_pixels)
    numbers = grain.MapDataset.range(len(samples)).map(lambda n: ask(samples[int(n)]))
    yield from numbers.to_iter_dataset(grain.ReadOptions(num_threads=threads, prefetch_buffer_size=128))


def shard_rows(total: int, shard: int, shards: int) -> range:
    """The pool positions of one shard: consecutive, so that the parts in order are the pool in order."""
    return range(shard * total // shards, (shard + 1) * total // shards)


def score_pool(
    pool: Any, rater: Rater, folder: Path, *, shards: int, max_pixels: int, mine: Sequence[int] | None = None
) -> None:
    """Writes `part-*.parquet` (`core.tables.score_schema`) and a note beside each for every shard that is missing.

    Args:
      pool: a Pool; rows are written in its order.
      rater: the scorer.
      folder: where the parts go.
      shards: number of parts.
      max_pixels: larger pictures are rejected.
      mine: the shards this process takes; all by default.
    """
    wanted = list(range(shards)) if mine is None else list(mine)
    todo = [s for s in wanted if not (folder / tables.part_name(s, shards)).exists()]
    total = sum(len(shard_rows(len(pool), s, shards)) for s in wanted)
    open_rows = sum(len(shard_rows(len(pool), s, shards)) for s in todo)
    progress = Progress("scoring", total, done=total - open_rows)
    for shard in todo:
        rows = shard_rows(len(pool), shard, shards)
        table, note = _score_rows(pool, rows, rater, progress, max_pixels)
        path = folder / tables.part_name(shard, shards)
        files.write_json(path.with_suffix(".json"), dataclasses.asdict(note))
        files.write_parquet(path, table)


def _score_rows(
    pool: Any, rows: range, rater: Rater, progress: Progress, max_pixels: int
) -> tuple[pa.Table, ScoreShard]:
    samples: list[Sample] = []
    lengths: list[int] = []
    cut: list[bool] = []
    rejects: list[dict[str, str]] = []

    def examples() -> Iterator[Example]:
        for item in questions(_View(pool, rows), rater, max_pixels=max_pixels):
            progress.add()
            if isinstance(item, Failed):
                logging.warning("sample %s is not scored: %s", item.sample.id, item.detail)
                reject = {"id": item.sample.id, "source": item.sample.source}
                rejects.append({**reject, "reason": item.reason, "detail": item.detail})
                continue
            sample, example = item
            samples.append(sample)
            cut.append(example.cut > 0)
            lengths.append(len(example) - len(rater.encoder.tree.tokens) + example.cut)
            yield example

    ratings = rater.rate(examples(), len(rows))
    n = len(samples)
    note = ScoreShard(
        scored=n,
        cut=sum(cut),
        digit_mass=tuple(float(v) for v in ratings.digit_mass[:n].astype(np.float64).sum(0)),
        rejects=tuple(rejects),
    )
    return score_table(samples, ratings, lengths, rater), note


def score_table(samples: Sequence[Sample], ratings: Ratings, lengths: Sequence[int], rater: Rater) -> pa.Table:
    """Ratings as rows of the public score table."""
    n = len(samples)
    slugs = [c.slug for c in rater.encoder.capabilities]
    columns = {
        "id": [s.id for s in samples],
        "source": [s.source for s in samples],
        **{slug: ratings.scores[:n, k] for k, slug in enumerate(slugs)},
        "styles": style_lists(ratings.style_share[:n], rater.encoder.styles),
        "n_tokens": list(lengths),
    }
    return pa.table(columns, schema=tables.score_schema(slugs))


def read_notes(folder: Path, shards: int) -> list[ScoreShard]:
    """The notes beside all parts, in order."""
    notes = []
    for shard in range(shards):
        row = files.read_json((folder / tables.part_name(shard, shards)).with_suffix(".json"))
        notes.append(ScoreShard(row["scored"], row["cut"], tuple(row["digit_mass"]), tuple(row["rejects"])))
    return notes


@dataclasses.dataclass(frozen=True)
class _View:
    """Some rows of a pool as a sequence."""

    pool: Any
    rows: Sequence[int]

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, n: int) -> Sample:
        return self.pool[self.rows[n]]
