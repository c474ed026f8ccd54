"""Finds near-duplicates and benchmark contamination by fingerprints of the pool, which are computed once."""

from __future__ import annotations

import functools
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pyarrow as pa
from absl import logging
from PIL import Image

from mmssr_jax.core import files, tables
from mmssr_jax.core.artifact import input_digest
from mmssr_jax.core.progress import Progress
from mmssr_jax.core.sample import ImageRef
from mmssr_jax.core.shards import ShardedJob
from mmssr_jax.core.stage import StageContext
from mmssr_jax.evaluation.benchmark import options, read_benchmark
from mmssr_jax.images.decode import PILLOW_MAX_PIXELS, open_rgb
from mmssr_jax.pool.pool import Pool
from mmssr_jax.selection.candidates import Excluded
from mmssr_jax.selection.config import SelectionConfig
from mmssr_jax.selection.screening import decontaminate, fingerprints
from mmssr_jax.selection.screening.decontaminate import Decontaminate, Questions
from mmssr_jax.selection.screening.exclusions import Screening, by_contamination, by_duplicates
from mmssr_jax.selection.screening.fingerprints import Fingerprints
from mmssr_jax.selection.screening.image_hash import image_hash
from mmssr_jax.selection.screening.text_hash import plain_text
from mmssr_jax.selection.table import ScoreTable

_ROWS = 4096  # samples per part: what an interruption may cost
_AT_ONCE = 256


class Screener:
    """Finds near-duplicates and contamination; fingerprints are shared between selections."""

    def __init__(self, ctx: StageContext, pool: Pool | None):
        self._ctx, self._opened = ctx, pool

    @property
    def _pool(self) -> Pool:
        assert self._opened is not None, "see SelectConfig.ids_only"
        return self._opened

    def screen(self, table: ScoreTable, config: SelectionConfig) -> Screening:
        """Screens the table as one selection asks for.

        Raises:
          UserError: a benchmark cannot be read.
        """
        reasons: dict[str, np.ndarray] = {}
        reports: dict[str, pa.Table] = {}
        if config.decontaminate is not None:
            result = by_contamination(table, config, self._contamination(config.decontaminate))
            reasons, reports = {**reasons, **result.excluded.reasons}, {**reports, **result.reports}
            logging.info("select: %d matches with benchmarks", result.reports["contamination.parquet"].num_rows)
        if config.near_duplicates is not None:
            result = by_duplicates(table, config, self._fingerprints)
            reasons, reports = {**reasons, **result.excluded.reasons}, {**reports, **result.reports}
            logging.info("select: %d near-duplicates", result.reports["duplicates.parquet"].num_rows)
        return Screening(Excluded(reasons), reports)

    @functools.cached_property
    def _fingerprints(self) -> Fingerprints:
        """The pool's fingerprints, from `features/fingerprints` of the workdir, where they are computed if missing.

        A dry run computes them in memory.
        """
        parts = max(-(-len(self._pool) // _ROWS), 1)
        if self._ctx.dry_run:
            return Fingerprints.from_arrow(pa.concat_tables(_part(self._pool, part) for part in range(parts)))
        folder = self._ctx.workdir.features("fingerprints")
        claim = functools.partial(
            self._ctx.claim,
            folder,
            stage="select",
            settings={"columns": fingerprints.SCHEMA.names, "rows": _ROWS},
            inputs={"pool": input_digest(self._pool.folder)},
            lock=False,
        )
        paths = [folder / tables.part_name(part, parts) for part in range(parts)]
        with ShardedJob(
            parts, lambda part: paths[part].exists(), lock=self._ctx.workdir.lock("features-fingerprints")
        ) as job:
            artifact = job.claim(claim, overwrite="select" in self._ctx.overwrite)
            if not artifact.done:
                done = min(len(job.done()) * _ROWS, len(self._pool))
                progress = Progress("fingerprints", len(self._pool), done=done)
                for part in job.todo():
                    table = _part(self._pool, part)
                    files.write_parquet(paths[part], table)
                    progress.add(table.num_rows)
                artifact.seal({"samples": len(self._pool)})
        return Fingerprints.from_arrow(tables.read_parts(folder))

    def _contamination(self, settings: Decontaminate) -> pa.Table:
        """The pool's samples that match a benchmark (`decontaminate.SCHEMA`): by image, then by text."""
        known = _questions(settings)
        matches = [decontaminate.SCHEMA.empty_table()]
        if "image" in settings.by:
            matches.append(decontaminate.match_images(self._fingerprints, known, distance=settings.distance))
        if "text" in settings.by:
            for ids, texts in _texts(self._pool):
                matches.append(decontaminate.match_texts(ids, texts, known, ngram=settings.ngram))
        return pa.concat_tables(matches).combine_chunks()


def _part(pool: Pool, part: int) -> pa.Table:
    """The fingerprints of one part's samples."""
    end = min((part + 1) * _ROWS, len(pool))
    pieces = [fingerprints.SCHEMA.empty_table()]
    with ThreadPoolExecutor(os.cpu_count()) as workers:
        for begin in range(part * _ROWS, end, _AT_ONCE):
            samples = [pool[i] for i in range(begin, min(begin + _AT_ONCE, end))]
            pieces.append(fingerprints.fingerprint(samples, _decode, workers))
    return pa.concat_tables(pieces)


def _decode(image: ImageRef) -> Image.Image:
    return open_rgb(image.read(), max_pixels=PILLOW_MAX_PIXELS)  # the limit is that of the ingest stage


def _texts(pool: Pool) -> Iterator[tuple[list[str], list[str]]]:
    """Ids and texts of the pool, a few hundred at a time."""
    progress = Progress("comparing with benchmarks", len(pool))
    for begin in range(0, len(pool), _AT_ONCE):
        samples = [pool[i] for i in range(begin, min(begin + _AT_ONCE, len(pool)))]
        yield [s.id for s in samples], [plain_text(s) for s in samples]
        progress.add(len(samples))


def _questions(settings: Decontaminate) -> Questions:
    """The benchmarks' questions."""
    names, texts, images = [], [], []
    for path in settings.benchmarks:
        for row in read_benchmark(Path(path), required=("question",)):
            names.append((Path(path).name, row.index))
            texts.append(" ".join([row.fields.get("question", ""), *options(row.fields).values()]))
            hashes = [image_hash(_decode(image)) for image in row.images] if "image" in settings.by else []
            images.append(np.array(hashes, np.uint64).reshape(-1, 2))
    return decontaminate.questions(names, texts, images, ngram=settings.ngram)
