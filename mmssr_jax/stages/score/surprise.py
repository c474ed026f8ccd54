"""Writes `features/surprise/part-*.parquet` (`id`, `surprise`) from a finished score table; see `scoring.surprise`."""

from __future__ import annotations

import functools
from pathlib import Path

import numpy as np
import pyarrow as pa

from mmssr_jax.core import files, tables
from mmssr_jax.core.artifact import MANIFEST, input_digest
from mmssr_jax.core.errors import UserError
from mmssr_jax.core.progress import Progress
from mmssr_jax.core.shards import ShardedJob
from mmssr_jax.core.stage import StageContext
from mmssr_jax.parallel.processes import Group
from mmssr_jax.pool.pool import Pool
from mmssr_jax.scoring.instructions import render_conversation
from mmssr_jax.scoring.score_pool import is_done
from mmssr_jax.scoring.surprise import FITTED, FOLDS, ExpectedNll
from mmssr_jax.selection.tie_break import hash_ids

NAME = "surprise"
_LEAST = 10  # samples with answers
_AT_ONCE = 4096  # samples between two lines of progress


def write_surprise(ctx: StageContext, pool: Pool, *, shards: int, joint: bool) -> None:
    """Writes the missing parts; processes share them, each after the same fit.

    Args:
      ctx: the stage's context; its score table is sealed.
      pool: the samples, for their texts.
      shards: parts of the score table.
      joint: the processes hold one model together, so that the main one writes.

    Raises:
      UserError: too few samples have answers.
    """
    folder, scores = ctx.workdir.features(NAME), ctx.workdir.scores
    is_written = functools.partial(is_done, folder, shards=shards)
    with ShardedJob(shards, is_written, lock=ctx.workdir.lock(f"features-{NAME}"), processes=Group(joint=joint)) as job:
        settings = {"kind": NAME, "folds": FOLDS, "fitted": FITTED, "shards": shards}
        inputs = {"pool": input_digest(ctx.workdir.pool), "scores": input_digest(scores)}
        claim = functools.partial(ctx.claim, folder, stage="score", settings=settings, inputs=inputs, lock=False)
        artifact = job.claim(claim, overwrite="score" in ctx.overwrite)
        if artifact.done:
            return
        rows = tables.read_parts(scores, ["id", "nll"])
        expected = _fit(pool, rows)
        done = sum(_part(scores, shard, shards).num_rows for shard in job.done())
        progress = Progress(NAME, rows.num_rows, done=done)
        for shard in job.todo():
            part = _part(scores, shard, shards)
            pieces = [np.zeros(0, np.float32)]
            for begin in range(0, part.num_rows, _AT_ONCE):
                pieces.append(expected.surprise(*_inputs(pool, part.slice(begin, _AT_ONCE))))
                progress.add(len(pieces[-1]))
            if job.writes:
                values = pa.array(np.concatenate(pieces), pa.float32(), from_pandas=True)
                path = folder / tables.part_name(shard, shards)
                files.write_parquet(path, pa.table({"id": part["id"], NAME: values}))
        seal = functools.partial(artifact.seal, {"samples": rows.num_rows})
        job.finish((folder / MANIFEST).exists, seal if job.writes else lambda: None)


def _part(scores: Path, shard: int, shards: int) -> pa.Table:
    return files.read_parquet(scores / tables.part_name(shard, shards), ["id", "nll"])


def _fit(pool: Pool, rows: pa.Table) -> ExpectedNll:
    """Fitted on the samples whose ids have the smallest hashes: the same ones in every process and row order."""
    usable = np.flatnonzero(np.isfinite(rows["nll"].to_numpy()))
    if len(usable) < _LEAST:
        raise UserError(
            f"config.score.surprise: {len(usable)} samples have answers with a likelihood, {_LEAST} are needed; leave "
            "it out and select without it"
        )
    chosen = usable[np.argsort(hash_ids(rows["id"].take(pa.array(usable))), kind="stable")[:FITTED]]
    return ExpectedNll.fit(*_inputs(pool, rows.take(pa.array(chosen))))


def _inputs(pool: Pool, rows: pa.Table) -> tuple[list[str], np.ndarray, np.ndarray]:
    """Texts, -log p (float [n]) and folds (int [n]) of rows of the score table."""
    texts = [render_conversation(pool[pool.position(i)]) for i in rows["id"].to_pylist()]
    fold = (hash_ids(rows["id"], salt=1) % np.uint64(FOLDS)).astype(np.int64)
    return texts, rows["nll"].to_numpy(), fold
