"""Ingestion as lists of independent work items for any number of workers, on one machine or several.

    scan     one item per file of the pool     checks/scan-000003.rows.parquet, checks/scan-000003.rejects.parquet
    check    one item per run of blocks        checks/block-000048.parquet ... checks/block-000063.parquet
    pack     one item per shard                pool-train.array_record-00002-of-00016

An item writes its files atomically and does nothing if they exist, so it can run on any worker, be retried, or run
twice concurrently. Between the passes one machine assigns ids and merges rejects, from tables of text columns without
images. The single-machine ingestion then finds the blocks and shards and continues from there, so its result is
identical byte for byte. All workers must reach the pool and the workdir under the same paths.

A pool of one file is scanned by one worker. Formats other than LLaVA JSON have no random access, so a file is read
again for each run and each shard that begins in it.
"""

from __future__ import annotations

import dataclasses
import functools
import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from mmssr_jax.core import files
from mmssr_jax.pool.check import BLOCK, block_path, check_images
from mmssr_jax.pool.config import IngestConfig
from mmssr_jax.pool.parse import CHUNK, REJECTS, ROWS, Scan, read_sample, scan
from mmssr_jax.pool.reader import Reader
from mmssr_jax.pool.record import Record

if TYPE_CHECKING:
    from mmssr_jax.pool.tfds_builder import PoolBuilder

RUN = 16  # blocks per item of the check pass

# (label, items, work): calls `work` for every item, in any order, on any worker.
Execute = Callable[[str, Sequence[int], Callable[[int], None]], None]


@dataclasses.dataclass(frozen=True)
class PoolJob:
    """The context of a work item; sent to the workers.

    Attributes:
      reader: the foreign pool.
      config: how it is ingested.
      checks: the folder for intermediate results.
    """

    reader: Reader
    config: IngestConfig
    checks: Path

    def rows(self, purpose: str) -> Path:
        """The table of rows that the items of a pass are slices of."""
        return self.checks / f"rows-{purpose}.parquet"


class DistributedPasses:
    """Runs each pass over a pool on several workers; see the module."""

    def __init__(self, job: PoolJob, execute: Execute):
        self._job, self._execute = job, execute

    def scan(self) -> Scan:
        """The result of `parse.scan` for the pool, or for its first `limit` records.

        Raises:
          UserError: a file is not readable.
        """
        job = self._job
        items = range(len(job.reader.files))
        self._execute("scan", items, functools.partial(scan_file, job))
        parts, position = [], 0
        for item in items:
            rows, rejects = (files.read_parquet(p) for p in _scan_paths(job.checks, item))
            parts.append((_moved(rows, position), _moved(rejects, position)))
            position += rows.num_rows + rejects.num_rows
        tables = (pa.concat_tables(tables) for tables in zip(*parts, strict=True))
        limit = position if job.config.limit is None else job.config.limit
        return Scan(*(_first(table, limit, schema) for table, schema in zip(tables, (ROWS, REJECTS), strict=True)))

    def check(self, rows: pa.Table) -> None:
        """Writes the blocks that `check.check_images` then finds."""
        _write_rows(self._job.rows("check"), rows, RUN * BLOCK)
        items = range(-(-rows.num_rows // (RUN * BLOCK)))
        self._execute("check", items, functools.partial(check_run, self._job))

    def pack(self, folder: Path, rows: pa.Table, n_bytes: int) -> None:
        """Writes the shards that `tfds_builder.PoolBuilder` then finds."""
        _write_rows(self._job.rows("pack"), rows, BLOCK)
        shards = _builder(self._job, folder, rows.num_rows, n_bytes).n_shards
        work = functools.partial(pack_shard, self._job, folder, rows.num_rows, n_bytes)
        self._execute("pack", range(shards), work)


def scan_file(job: PoolJob, file: int) -> None:
    """Parses one file of the pool; positions count from the file's first record."""
    rows, rejects = _scan_paths(job.checks, file)
    if not rows.exists():
        result = scan(_OneFile(job.reader, file), job.config.rules)
        files.write_parquet(rejects, result.rejects)
        files.write_parquet(rows, result.rows)


def check_run(job: PoolJob, item: int) -> None:
    """Checks the images of one run of blocks."""
    begin = item * RUN
    rows = _read_rows(job.rows("check"), begin * BLOCK, (begin + RUN) * BLOCK)
    paths = [block_path(job.checks, begin + i) for i in range(-(-rows.num_rows // BLOCK))]
    if all(p.exists() for p in paths):
        return
    config = job.config
    renumbered = rows.set_column(0, "position", pa.array(np.arange(rows.num_rows)))
    checked = check_images(
        _Rows(job.reader, rows), renumbered, config.rules, verify=config.verify_images, max_pixels=config.max_pixels
    )
    for i, path in enumerate(paths):
        files.write_parquet(path, checked.slice(i * BLOCK, BLOCK).combine_chunks())


def pack_shard(job: PoolJob, folder: Path, n_samples: int, n_bytes: int, shard: int) -> None:
    """Writes one shard of samples with their images."""
    _builder(job, folder, n_samples, n_bytes, shard).write_shard(shard)


def _builder(job: PoolJob, folder: Path, n_samples: int, n_bytes: int, shard: int = 0) -> PoolBuilder:
    """A builder of the dataset whose samples are those of one shard."""
    from mmssr_jax.pool.tfds_builder import PackedSample, PoolBuilder  # TFDS takes a second to import

    def samples(first: int) -> Iterator[PackedSample]:
        rows = _read_rows(job.rows("pack"), first, builder.rows_of(shard).stop)
        for id, record in zip(rows["id"], _Rows(job.reader, rows).records(images=True), strict=True):
            root = job.reader.images_root(record.file)
            yield PackedSample(read_sample(record, root, job.config.rules, id=id.as_py()), record.raw)

    builder = PoolBuilder(folder, samples=samples, n_samples=n_samples, n_bytes=n_bytes)
    return builder


def _scan_paths(folder: Path, file: int) -> tuple[Path, Path]:
    return folder / f"scan-{file:06d}.rows.parquet", folder / f"scan-{file:06d}.rejects.parquet"


def _moved(table: pa.Table, by: int) -> pa.Table:
    return table.set_column(0, "position", pc.add(table["position"], by))


def _first(table: pa.Table, limit: int, schema: pa.Schema) -> pa.Table:
    """The records before `limit`, with the types and chunks of a scan on one machine."""
    kept = table.filter(pc.less(table["position"], limit)).cast(schema).combine_chunks()
    return pa.Table.from_batches(kept.to_batches(max_chunksize=CHUNK), schema)


def _write_rows(path: Path, rows: pa.Table, group: int) -> None:
    """Writes Parquet with `group` rows per row group, so that a worker reads only its slice."""
    with files.replacing(path) as temporary:
        pq.write_table(rows, temporary, row_group_size=group, compression="zstd")


def _read_rows(path: Path, begin: int, end: int) -> pa.Table:
    """Rows from `begin` to `end`, clipped to the table."""
    with pq.ParquetFile(path) as file:
        size = max(file.metadata.row_group(0).num_rows, 1) if file.num_row_groups else 1
        end = min(end, file.metadata.num_rows)
        groups = list(range(begin // size, -(-end // size)))
        if not groups or begin >= end:
            return file.schema_arrow.empty_table()
        return file.read_row_groups(groups).slice(begin - groups[0] * size, end - begin)


@dataclasses.dataclass(frozen=True)
class _Part:
    """A reader of a part of a pool; files keep their numbers."""

    reader: Reader

    @property
    def files(self) -> tuple[Path, ...]:
        return self.reader.files

    @property
    def in_place(self) -> bool:
        return self.reader.in_place

    @property
    def settings(self) -> Any:
        return self.reader.settings

    def images_root(self, file: int) -> Path:
        return self.reader.images_root(file)


@dataclasses.dataclass(frozen=True)
class _OneFile(_Part):
    """The records of one file."""

    file: int

    def records(self, *, images: bool, label: str | None = None, only: int | None = None) -> Iterator[Record]:
        return self.reader.records(images=images, label=label, only=self.file)


@dataclasses.dataclass(frozen=True)
class _Rows(_Part):
    """The records of some rows of a scan, in order."""

    rows: pa.Table

    def records(self, *, images: bool, label: str | None = None, only: int | None = None) -> Iterator[Record]:
        file_of, numbers = self.rows["file"].to_numpy(), self.rows["number"].to_numpy()
        for file in np.unique(file_of).tolist():
            indices = np.flatnonzero(file_of == file)
            if self.in_place:
                yield from self._by_place(file, indices)
            else:
                yield from _numbered(self.reader.records(images=images, only=file), numbers[indices].tolist())

    def _by_place(self, file: int, indices: np.ndarray) -> Iterator[Record]:
        places = self.rows.take(pa.array(indices)).select(["number", "offset", "length"])
        with open(self.files[file], "rb") as f:
            for place in places.to_pylist():
                f.seek(place["offset"])
                raw = f.read(place["length"])
                yield Record(file, place["number"], place["offset"], raw, json.loads(raw))


def _numbered(records: Iterator[Record], numbers: Sequence[int]) -> Iterator[Record]:
    """The records with these ascending numbers."""
    wanted = iter(numbers)
    target = next(wanted, None)
    for record in records:
        if target is None:
            return
        if record.number == target:
            yield record
            target = next(wanted, None)
