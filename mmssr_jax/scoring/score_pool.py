"""Scores a pool into shards; each is written atomically, so that an interrupted run resumes at the next one."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

import grain
import numpy as np
import pyarrow as pa
from absl import logging

from mmssr_jax.core import files, tables
from mmssr_jax.core.metric_writer import append_scalars
from mmssr_jax.core.progress import Progress
from mmssr_jax.core.sample import Sample
from mmssr_jax.core.saved import read_saved
from mmssr_jax.core.shards import ShardedJob, part_rows
from mmssr_jax.data.example import Example
from mmssr_jax.data.subset import SampleSource, Subset
from mmssr_jax.scoring.ensemble import DoesNotFitError, ScorerEnsemble
from mmssr_jax.scoring.scorer import ScorerOutput, TokenCounts

T = TypeVar("T")

_PREFETCH = 128  # encoded samples that wait for the models
_GROUP = 16  # samples that a thread hands over at a time; one at a time would cost 10 % of the throughput
_END = object()


@dataclasses.dataclass(frozen=True)
class RejectedSample:
    """A sample that cannot be scored, with a reason code and a message."""

    sample: Sample
    reason: str
    detail: str


@dataclasses.dataclass(frozen=True)
class ScoreShard:
    """Statistics that are saved with a shard's table.

    Attributes:
      scored, cut: number of samples in the table, and of those whose text was truncated.
      digit_mass: for each capability, the digits' probability mass, summed over the samples.
      rejects: the samples that are not in the table, with the reason.
    """

    scored: int
    cut: int
    digit_mass: tuple[float, ...]
    rejects: tuple[dict[str, str], ...]


@dataclasses.dataclass(frozen=True)
class _Encode:
    """sample -> its prompts for the models, or why it is rejected; runs in grain's threads."""

    ensemble: ScorerEnsemble

    def __call__(self, sample: Sample) -> tuple[Sample, tuple[Example, ...]] | RejectedSample:
        try:
            return sample, self.ensemble.prompts(sample)
        except (OSError, ValueError) as e:
            return RejectedSample(sample, "unreadable_image", str(e))
        except DoesNotFitError as e:
            return RejectedSample(sample, "does_not_fit", str(e))


def read_prompts(
    samples: Sequence[Sample] | SampleSource, ensemble: ScorerEnsemble, *, threads: int = 2
) -> Iterator[tuple[Sample, tuple[Example, ...]] | RejectedSample]:
    """Reads, decodes and tokenises samples in threads, ahead of the models and in order."""
    encode = _Encode(ensemble)
    starts = grain.MapDataset.range(0, len(samples), _GROUP)
    groups = starts.map(lambda n: [encode(samples[i]) for i in range(int(n), min(int(n) + _GROUP, len(samples)))])
    options = grain.ReadOptions(num_threads=threads, prefetch_buffer_size=_PREFETCH // _GROUP)
    for group in groups.to_iter_dataset(options):
        yield from group


def score_pool(
    pool: SampleSource, ensemble: ScorerEnsemble, folder: Path, *, job: ShardedJob, extra: Path | None = None,
    metrics: Path | None = None, threads: int = 2,
) -> None:  # fmt: skip
    """Writes `part-*.parquet` (`core.tables.score_schema`) and `part-*.json` (`ScoreShard`) for the missing shards.

    Args:
      pool: the samples; rows are written in their order.
      ensemble: the models.
      folder: output folder.
      job: the shards, and who computes and writes which.
      extra: folder for each part's `detail_table`; None to skip it.
      metrics: file to which the throughput of each shard is appended, in the format of `core.metric_writer`.
      threads: threads that decode and tokenise.
    """
    done = sum(len(part_rows(len(pool), shard, job.parts)) for shard in job.done())
    progress = Progress("scoring", len(pool), done=done)
    for shard in job.todo():
        rows = part_rows(len(pool), shard, job.parts)
        throughput = ScoringThroughput(ensemble)
        prompts = read_prompts(Subset(pool, rows), ensemble, threads=threads)
        scored = _ScoredSamples(throughput.over(prompts), progress)
        output = ensemble.score(scored.accepted())
        scalars = throughput.scalars()
        logging.info("shard %d of %d: %s", shard, job.parts, ", ".join(f"{k} {v:.4g}" for k, v in scalars.items()))
        if not job.writes:
            continue
        if metrics is not None:
            append_scalars(metrics, shard, {f"time/{k}": v for k, v in scalars.items()})  # they depend on the machine
        path = folder / tables.part_name(shard, job.parts)
        if extra is not None:
            files.write_parquet(extra / path.name, detail_table(scored.samples, output, ensemble))
        files.write_json(path.with_suffix(".json"), dataclasses.asdict(scored.statistics(output)))
        files.write_parquet(path, score_table(scored.samples, output, scored.lengths, ensemble))


def is_done(folder: Path, shard: int, shards: int) -> bool:
    """Whether a shard is written; its part is the last file that is written."""
    return (folder / tables.part_name(shard, shards)).exists()


class ScoringThroughput:
    """Measures throughput, and the time spent waiting for input, from its construction on."""

    def __init__(self, ensemble: ScorerEnsemble):
        self._ensemble, self._before, self._begin = ensemble, ensemble.counts, time.monotonic()
        self.waited = 0.0

    def over(self, items: Iterator[T]) -> Iterator[T]:
        """Yields `items` and accumulates the time spent waiting for them."""
        while True:
            begin = time.monotonic()
            item = next(items, _END)
            self.waited += time.monotonic() - begin
            if item is _END:
                return
            yield item  # type: ignore[misc]

    def scalars(self) -> dict[str, float]:
        """samples_per_s, tokens_per_s (without padding), padding_share of the computed tokens, input_wait_share."""
        seconds, now, before = max(time.monotonic() - self._begin, 1e-9), self._ensemble.counts, self._before
        samples, tokens = now.samples - before.samples, now.tokens - before.tokens
        return {
            "samples_per_s": samples / seconds,
            "tokens_per_s": tokens / seconds,
            "padding_share": TokenCounts(samples, tokens, now.computed - before.computed).padding,
            "input_wait_share": self.waited / seconds,
        }


class _ScoredSamples:
    """Collects what a shard's files need about the samples, while `accepted` passes their prompts on."""

    def __init__(self, items: Iterable[tuple[Sample, tuple[Example, ...]] | RejectedSample], progress: Progress):
        self._items, self._progress = items, progress
        self.samples: list[Sample] = []
        self.lengths: list[int] = []
        self._cut = 0
        self._rejects: list[dict[str, str]] = []

    def accepted(self) -> Iterator[tuple[Example, ...]]:
        """The prompts of the samples that are not rejected."""
        for item in self._items:
            self._progress.add()
            if isinstance(item, RejectedSample):
                logging.warning("sample %s is not scored: %s", item.sample.id, item.detail)
                reject = {"id": item.sample.id, "source": item.sample.source}
                self._rejects.append({**reject, "reason": item.reason, "detail": item.detail})
                continue
            sample, examples = item
            self.samples.append(sample)
            self._cut += examples[0].cut > 0
            self.lengths.append(len(examples[0]) + examples[0].cut)
            yield examples

    def statistics(self, output: ScorerOutput) -> ScoreShard:
        """The shard's statistics, once all samples are scored."""
        mass = tuple(float(v) for v in output.digit_mass.astype(np.float64).sum(0))
        return ScoreShard(len(self.samples), self._cut, mass, tuple(self._rejects))


def score_table(
    samples: Sequence[Sample], output: ScorerOutput, lengths: Sequence[int], ensemble: ScorerEnsemble
) -> pa.Table:
    """The output for n samples as rows of the public score table; `lengths` are their token counts."""
    slugs = [c.slug for c in ensemble.capabilities]
    further = {"nll": output.nll} | ({} if output.nll_blind is None else {"nll_blind": output.nll_blind})
    columns = {
        "id": [s.id for s in samples],
        "source": [s.source for s in samples],
        **{slug: output.scores[:, k] for k, slug in enumerate(slugs)},
        "styles": output.styles,
        "n_tokens": list(lengths),
        **{name: pa.array(values, pa.float32(), from_pandas=True) for name, values in further.items()},
    }
    return pa.table(columns, schema=tables.score_schema(slugs, list(further)))


def score_readable(samples: Sequence[Sample] | SampleSource, ensemble: ScorerEnsemble) -> ScorerOutput:
    """The output for those of `samples` that are not rejected, in order."""
    items = read_prompts(samples, ensemble)
    return ensemble.score(item[1] for item in items if not isinstance(item, RejectedSample))


def detail_table(samples: Sequence[Sample], output: ScorerOutput, ensemble: ScorerEnsemble) -> pa.Table:
    """`id`, and for each capability `<slug>`, int8, the most likely digit, and `<slug>_mass`, float32, their mass."""
    columns: dict[str, pa.Array] = {"id": pa.array([s.id for s in samples], pa.string())}
    for k, capability in enumerate(ensemble.capabilities):
        columns[capability.slug] = pa.array(output.best[:, k], pa.int8())
        columns[f"{capability.slug}_mass"] = pa.array(output.digit_mass[:, k], pa.float32())
    return pa.table(columns)


def read_shard_statistics(folder: Path, shards: int) -> list[ScoreShard]:
    """The `ScoreShard` of every part, in order."""
    statistics = []
    for shard in range(shards):
        path = (folder / tables.part_name(shard, shards)).with_suffix(".json")
        row = read_saved(path, {"scored": int, "cut": int, "digit_mass": list, "rejects": list})
        statistics.append(ScoreShard(row["scored"], row["cut"], tuple(row["digit_mass"]), tuple(row["rejects"])))
    return statistics
