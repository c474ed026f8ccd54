"""Scoring a pool into shards: each is whole or absent, so that a run that was cut off goes on at the next one."""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

import grain
import numpy as np
import pyarrow as pa
from absl import logging

from mmssr_jax.core import files, tables
from mmssr_jax.core.progress import Progress
from mmssr_jax.core.sample import Sample
from mmssr_jax.data.example import Example
from mmssr_jax.data.subset import SampleSource, Subset
from mmssr_jax.scoring.ensemble import DoesNotFitError, ScorerEnsemble
from mmssr_jax.scoring.scorer import ScorerOutput, TokenCounts

T = TypeVar("T")

_AHEAD = 128  # samples that wait for the models
_TOGETHER = 16  # samples that a thread hands over at a time: one by one would cost a tenth of the throughput
_END = object()


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
    """sample -> what the models read of it, or why there is nothing; runs in grain's threads."""

    panel: ScorerEnsemble
    max_pixels: int

    def __call__(self, sample: Sample) -> tuple[Sample, tuple[Example, ...]] | Failed:
        try:
            return sample, self.panel.prompts(sample, max_pixels=self.max_pixels)
        except (OSError, ValueError) as e:
            return Failed(sample, "unreadable_image", str(e))
        except DoesNotFitError as e:
            return Failed(sample, "does_not_fit", str(e))


def questions(
    samples: Sequence[Sample] | SampleSource, panel: ScorerEnsemble, *, max_pixels: int, threads: int = 2
) -> Iterator[tuple[Sample, tuple[Example, ...]] | Failed]:
    """Reads, decodes and tokenises samples ahead of the models, in order."""
    ask = _Ask(panel, max_pixels)
    starts = grain.MapDataset.range(0, len(samples), _TOGETHER)
    groups = starts.map(lambda n: [ask(samples[i]) for i in range(int(n), min(int(n) + _TOGETHER, len(samples)))])
    ahead = grain.ReadOptions(num_threads=threads, prefetch_buffer_size=_AHEAD // _TOGETHER)
    for group in groups.to_iter_dataset(ahead):
        yield from group


def shard_rows(total: int, shard: int, shards: int) -> range:
    """The pool positions of one shard: consecutive, so that the parts in order are the pool in order."""
    return range(shard * total // shards, (shard + 1) * total // shards)


def score_pool(
    pool: SampleSource, panel: ScorerEnsemble, folder: Path, *, shards: int, max_pixels: int, todo: Iterable[int],
    writes: bool = True, extra: Path | None = None, metrics: Path | None = None, threads: int = 2,
) -> None:  # fmt: skip
    """Writes `part-*.parquet` (`core.tables.score_schema`) and a note beside each for the shards in `todo`.

    Args:
      pool: a Pool; rows are written in its order.
      panel: the models.
      folder: where the parts go.
      shards: number of parts.
      max_pixels: larger pictures are rejected.
      todo: the shards that are missing, handed out one by one (`work.WorkList.items`).
      writes: whether this process writes what it computes; with a model that is split over processes only one does.
      extra: a folder for each part's arg-max and probability mass of the digits (`detail_table`); None for none.
      metrics: the throughput of each shard is appended to this file, as `core.metric_writer` does.
      threads: that decode and tokenise.
    """
    done = sum(len(shard_rows(len(pool), s, shards)) for s in range(shards) if is_done(folder, s, shards))
    progress = Progress("scoring", len(pool), done=done)
    for shard in todo:
        rows = shard_rows(len(pool), shard, shards)
        meter = ScoringThroughput(panel)
        samples, ratings, lengths, note = _rate_rows(pool, rows, panel, progress, meter, max_pixels, threads)
        scalars = meter.scalars()
        logging.info("shard %d of %d: %s", shard, shards, ", ".join(f"{k} {v:.4g}" for k, v in scalars.items()))
        if not writes:
            continue
        if metrics is not None:
            _append_metrics(metrics, shard, scalars)
        path = folder / tables.part_name(shard, shards)
        if extra is not None:
            files.write_parquet(extra / path.name, detail_table(samples, ratings, panel))
        files.write_json(path.with_suffix(".json"), dataclasses.asdict(note))
        files.write_parquet(path, score_table(samples, ratings, lengths, panel))


def _append_metrics(path: Path, shard: int, scalars: Mapping[str, float]) -> None:
    """One write, so that processes do not tear each other's lines; the values hang on the machine, hence "time/"."""
    now = round(time.time(), 3)
    rows = [{"step": shard, "name": f"time/{k}", "value": v, "time": now} for k, v in scalars.items()]
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "a", encoding="utf-8") as f:
        f.write("".join(json.dumps(row) + "\n" for row in rows))


def is_done(folder: Path, shard: int, shards: int) -> bool:
    """Whether a shard is written: its part comes last."""
    return (folder / tables.part_name(shard, shards)).exists()


class ScoringThroughput:
    """How fast a stretch of scoring was, and what it waited for."""

    def __init__(self, panel: ScorerEnsemble):
        self._panel, self._before, self._begin = panel, panel.work, time.monotonic()
        self.waited = 0.0

    def over(self, items: Iterator[T]) -> Iterator[T]:
        """Hands `items` on, and adds up how long they let wait."""
        while True:
            begin = time.monotonic()
            item = next(items, _END)
            self.waited += time.monotonic() - begin
            if item is _END:
                return
            yield item  # type: ignore[misc]

    def scalars(self) -> dict[str, float]:
        """samples_per_s, tokens_per_s (without padding), padding_share of the computed tokens, input_wait_share."""
        seconds, now, before = max(time.monotonic() - self._begin, 1e-9), self._panel.work, self._before
        samples, tokens = now.samples - before.samples, now.tokens - before.tokens
        return {
            "samples_per_s": samples / seconds,
            "tokens_per_s": tokens / seconds,
            "padding_share": TokenCounts(samples, tokens, now.computed - before.computed).padding,
            "input_wait_share": self.waited / seconds,
        }


def _rate_rows(
    pool: SampleSource,
    rows: range,
    panel: ScorerEnsemble,
    progress: Progress,
    meter: ScoringThroughput,
    max_pixels: int,
    threads: int,
) -> tuple[list[Sample], ScorerOutput, list[int], ScoreShard]:
    samples: list[Sample] = []
    lengths: list[int] = []
    cut = 0
    rejects: list[dict[str, str]] = []
    rating = panel.start(len(rows))
    for item in meter.over(questions(Subset(pool, rows), panel, max_pixels=max_pixels, threads=threads)):
        progress.add()
        if isinstance(item, Failed):
            logging.warning("sample %s is not scored: %s", item.sample.id, item.detail)
            reject = {"id": item.sample.id, "source": item.sample.source}
            rejects.append({**reject, "reason": item.reason, "detail": item.detail})
            continue
        sample, examples = item
        samples.append(sample)
        cut += examples[0].cut > 0
        lengths.append(len(examples[0]) + examples[0].cut)
        rating.add(examples)
    ratings, n = rating.finish(), len(samples)
    mass = tuple(float(v) for v in ratings.digit_mass[:n].astype(np.float64).sum(0))
    return samples, ratings, lengths, ScoreShard(n, cut, mass, tuple(rejects))


def score_table(
    samples: Sequence[Sample], ratings: ScorerOutput, lengths: Sequence[int], panel: ScorerEnsemble
) -> pa.Table:
    """Ratings as rows of the public score table."""
    n = len(samples)
    slugs = [c.slug for c in panel.capabilities]
    columns = {
        "id": [s.id for s in samples],
        "source": [s.source for s in samples],
        **{slug: ratings.scores[:n, k] for k, slug in enumerate(slugs)},
        "styles": ratings.styles[:n],
        "n_tokens": list(lengths),
    }
    return pa.table(columns, schema=tables.score_schema(slugs))


def score_readable(samples: Sequence[Sample] | SampleSource, panel: ScorerEnsemble, *, max_pixels: int) -> ScorerOutput:
    """Ratings of those among `samples` that can be rated, in order."""
    items = questions(samples, panel, max_pixels=max_pixels)
    asked = [item[1] for item in items if not isinstance(item, Failed)]
    rating = panel.start(len(asked))
    for examples in asked:
        rating.add(examples)
    return rating.finish()


def detail_table(samples: Sequence[Sample], ratings: ScorerOutput, panel: ScorerEnsemble) -> pa.Table:
    """Beside the scores: `id`, and per capability `<slug>` int8, the most likely digit, and `<slug>_mass` float32."""
    n = len(samples)
    columns: dict[str, pa.Array] = {"id": pa.array([s.id for s in samples], pa.string())}
    for k, capability in enumerate(panel.capabilities):
        columns[capability.slug] = pa.array(ratings.best[:n, k], pa.int8())
        columns[f"{capability.slug}_mass"] = pa.array(ratings.digit_mass[:n, k], pa.float32())
    return pa.table(columns)


def read_notes(folder: Path, shards: int) -> list[ScoreShard]:
    """The notes beside all parts, in order."""
    notes = []
    for shard in range(shards):
        row = files.read_json((folder / tables.part_name(shard, shards)).with_suffix(".json"))
        notes.append(ScoreShard(row["scored"], row["cut"], tuple(row["digit_mass"]), tuple(row["rejects"])))
    return notes
