"""Ingestion as lists of work that any number of workers can take, on one machine or on many.

    scan     an item a file of the pool      checks/scan-000003.rows.parquet, checks/scan-000003.rejects.parquet
    check    an item a run of blocks         checks/block-000048.parquet ... checks/block-000063.parquet
    pack     an item a shard                 pool-train.array_record-00002-of-00016

An item leaves files, each whole or not there, and does nothing where they are there already: it may run anywhere, be
run again, or twice at once. In between, ids are given and rejects are merged on one machine, from tables of text
columns without pictures. The ordinary ingestion then finds the blocks and shards made and goes on from there, so its
result is the same byte for byte. All workers must reach the pool and the workdir under the same paths.

A pool of one file is scanned by one worker. What is no LLaVA JSON has no random access, so a file is read again for
each run and each shard that begins in it.
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
from mmssr_jax.pool.parse import CHUNK, REJECTS, ROWS, Scan, read_sample, scan
from mmssr_jax.pool.record import Reader, Record

if TYPE_CHECKING:
    from mmssr_jax.pool.tfds_builder import PoolBuilder
    from mmssr_jax.pool.validate import IngestConfig

RUN = 16  # blocks that one worker checks at a time

# Does `work` for every item, in any order, anywhere: (label, items, work).
Execute = Callable[[str, Sequence[int], Callable[[int], None]], None]


@dataclasses.dataclass(frozen=True)
class PoolJob:
    """What a worker has to know.

    Attributes:
      reader: the foreign pool.
      intake: how it is taken in.
      checks: the folder for what is found out.
    """

    reader: Reader
    intake: IngestConfig
    checks: Path

    def rows(self, purpose: str) -> Path:
        """The rows that items are slices of."""
        return self.checks / f"rows-{purpose}.parquet"


class DistributedPasses:
    """The passes over a pool, each spread over workers; see the module."""

    def __init__(self, task: PoolJob, execute: Execute):
        self._task, self._execute = task, execute

    def scan(self) -> Scan:
        """What `scan.scan` finds in the whole pool, or its first `limit` records.

        Raises:
          UserError: a file is not readable.
        """
        task = self._task
        items = range(len(task.reader.files))
        self._execute("scan", items, functools.partial(scan_file, task))
        parts, position = [], 0
        for item in items:
            rows, rejects = (files.read_parquet(p) for p in _scan_paths(task.checks, item))
            parts.append((_moved(rows, position), _moved(rejects, position)))
            position += rows.num_rows + rejects.num_rows
        whole = (pa.concat_tables(tables) for tables in zip(*parts, strict=True))
        limit = position if task.intake.limit is None else task.intake.limit
        return Scan(*(_first(table, limit, schema) for table, schema in zip(whole, (ROWS, REJECTS), strict=True)))

    def check(self, rows: pa.Table) -> None:
        """Makes the blocks that `check.check_images` looks for."""
        _write_rows(self._task.rows("check"), rows, RUN * BLOCK)
        items = range(-(-rows.num_rows // (RUN * BLOCK)))
        self._execute("check", items, functools.partial(check_run, self._task))

    def pack(self, folder: Path, rows: pa.Table, n_bytes: int) -> None:
        """Makes the shards that `tfds_builder.PoolBuilder` looks for."""
        _write_rows(self._task.rows("pack"), rows, BLOCK)
        shards = _builder(self._task, folder, rows.num_rows, n_bytes).n_shards
        work = functools.partial(pack_shard, self._task, folder, rows.num_rows, n_bytes)
        self._execute("pack", range(shards), work)


def scan_file(task: PoolJob, file: int) -> None:
    """Reads one of the pool's files and checks what its records say; positions count from the file's first record."""
    rows, rejects = _scan_paths(task.checks, file)
    if not rows.exists():
        found = scan(_OneFile(task.reader, file), task.intake.rules)
        files.write_parquet(rejects, found.rejects)
        files.write_parquet(rows, found.rows)


def check_run(task: PoolJob, item: int) -> None:
    """Checks the pictures of some blocks of rows."""
    begin = item * RUN
    rows = _read_rows(task.rows("check"), begin * BLOCK, (begin + RUN) * BLOCK)
    paths = [block_path(task.checks, begin + i) for i in range(-(-rows.num_rows // BLOCK))]
    if all(p.exists() for p in paths):
        return
    intake = task.intake
    renumbered = rows.set_column(0, "position", pa.array(np.arange(rows.num_rows)))
    checked = check_images(
        _Rows(task.reader, rows), renumbered, intake.rules, verify=intake.verify_images, max_pixels=intake.max_pixels
    )
    for i, path in enumerate(paths):
        files.write_parquet(path, checked.slice(i * BLOCK, BLOCK).combine_chunks())


def pack_shard(task: PoolJob, folder: Path, n_samples: int, n_bytes: int, shard: int) -> None:
    """Writes one shard of samples with their pictures."""
    _builder(task, folder, n_samples, n_bytes, shard).write_shard(shard)


def _builder(task: PoolJob, folder: Path, n_samples: int, n_bytes: int, shard: int = 0) -> PoolBuilder:
    """The builder of the whole set, which is given the samples of one shard."""
    from mmssr_jax.pool.tfds_builder import PackedSample, PoolBuilder  # TFDS takes a second to import

    def samples(first: int) -> Iterator[PackedSample]:
        rows = _read_rows(task.rows("pack"), first, builder.rows_of(shard).stop)
        for id, record in zip(rows["id"], _Rows(task.reader, rows).records(pictures=True), strict=True):
            root = task.reader.images_root(record.file)
            yield PackedSample(read_sample(record, root, task.intake.rules, id=id.as_py()), record.raw)

    builder = PoolBuilder(folder, samples=samples, n_samples=n_samples, n_bytes=n_bytes)
    return builder


def _scan_paths(folder: Path, file: int) -> tuple[Path, Path]:
    return folder / f"scan-{file:06d}.rows.parquet", folder / f"scan-{file:06d}.rejects.parquet"


def _moved(table: pa.Table, by: int) -> pa.Table:
    return table.set_column(0, "position", pc.add(table["position"], by))


def _first(table: pa.Table, limit: int, schema: pa.Schema) -> pa.Table:
    """The records before `limit`, in the types and chunks that a scan on one machine gives."""
    kept = table.filter(pc.less(table["position"], limit)).cast(schema).combine_chunks()
    return pa.Table.from_batches(kept.to_batches(max_chunksize=CHUNK), schema)


def _write_rows(path: Path, rows: pa.Table, group: int) -> None:
    """Parquet whose row groups have `group` rows, so that a worker reads no more than its own."""
    with files.replacing(path) as temporary:
        pq.write_table(rows, temporary, row_group_size=group, compression="zstd")


def _read_rows(path: Path, begin: int, end: int) -> pa.Table:
    """Rows from `begin` up to `end`, as far as there are."""
    with pq.ParquetFile(path) as file:
        size = max(file.metadata.row_group(0).num_rows, 1) if file.num_row_groups else 1
        end = min(end, file.metadata.num_rows)
        groups = list(range(begin // size, -(-end // size)))
        if not groups or begin >= end:
            return file.schema_arrow.empty_table()
        return file.read_row_groups(groups).slice(begin - groups[0] * size, end - begin)


@dataclasses.dataclass(frozen=True)
class _Part:
    """A part of a pool as a reader of its own; files keep their numbers."""

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

    def records(self, *, pictures: bool, label: str | None = None, only: int | None = None) -> Iterator[Record]:
        return self.reader.records(pictures=pictures, label=label, only=self.file)


@dataclasses.dataclass(frozen=True)
class _Rows(_Part):
    """The records of some rows of a scan, in their order."""

    rows: pa.Table

    def records(self, *, pictures: bool, label: str | None = None, only: int | None = None) -> Iterator[Record]:
        file_of, numbers = self.rows["file"].to_numpy(), self.rows["number"].to_numpy()
        for file in np.unique(file_of).tolist():
            mine = np.flatnonzero(file_of == file)
            if self.in_place:
                yield from self._by_place(file, mine)
            else:
                yield from _numbered(self.reader.records(pictures=pictures, only=file), numbers[mine].tolist())

    def _by_place(self, file: int, mine: np.ndarray) -> Iterator[Record]:
        places = self.rows.take(pa.array(mine)).select(["number", "offset", "length"])
        with open(self.files[file], "rb") as f:
            for place in places.to_pylist():
                f.seek(place["offset"])
                raw = f.read(place["length"])
                yield Record(file, place["number"], place["offset"], raw, json.loads(raw))


def _numbered(records: Iterator[Record], numbers: Sequence[int]) -> Iterator[Record]:
    """The records of these rising numbers."""
    wanted = iter(numbers)
    target = next(wanted, None)
    for record in records:
        if target is None:
            return
        if record.number == target:
            yield record
            target = next(wanted, None)
