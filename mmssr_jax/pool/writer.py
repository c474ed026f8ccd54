"""Writes a pool's folder: the index, the rejects, and the shards where it is packed."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from mmssr_jax.core import files
from mmssr_jax.core.artifact import Artifact
from mmssr_jax.core.config import to_plain
from mmssr_jax.core.errors import UserError
from mmssr_jax.pool.config import IngestConfig
from mmssr_jax.pool.distributed.passes import DistributedPasses, Execute, PoolJob
from mmssr_jax.pool.parse import read_sample, used_records
from mmssr_jax.pool.reader import Reader
from mmssr_jax.pool.reasons import RejectedError
from mmssr_jax.pool.validate import Validation, validate

INDEX = "index.parquet"
REJECTS_FILE = "rejects.jsonl"
SPLIT = "train"

_COLUMNS = ["id", "source", "n_images", "n_turns", "split", "orig_id", "repairs"]
_LOCATION = ["file", "offset", "length", "crc", "image_bytes"]  # of an unpacked record


def write_pool(
    artifact: Artifact, reader: Reader, config: IngestConfig, *, packed: bool, execute: Execute | None = None
) -> Validation:
    """Ingests a foreign pool and seals the artifact; an interrupted run resumes.

    Args:
      artifact: the claimed folder.
      reader: the foreign pool.
      config: how it is ingested.
      packed: copy samples and images into ArrayRecord shards; otherwise samples are read from the original files.
      execute: runs the work on several workers, see `distributed.passes`; the result is the same.

    Returns:
      The result of the validation; its counts are in the manifest.

    Raises:
      UserError: see `validate`; nothing then remains but the claim, which binds nobody.
    """
    folder = artifact.path
    checks = folder / "checks"
    files.remove_leftovers(folder)
    distributed = DistributedPasses(PoolJob(reader, config, checks), execute) if execute is not None else None
    try:
        result = validate(reader, config, checks=checks, distributed=distributed)
    except UserError:
        # What was found must not outlast its cause: the user may add the images, or take another folder of images.
        shutil.rmtree(checks, ignore_errors=True)
        raise
    if packed:
        _pack(folder, reader, config, result.rows, distributed)
    _write_index(folder / INDEX, result.rows, packed=packed)
    _write_rejects(folder / REJECTS_FILE, result.rejects, file_names(reader.files))
    shutil.rmtree(checks, ignore_errors=True)
    artifact.seal(
        result.counts(),
        layout="packed" if packed else "in_place",
        rules=to_plain(config.rules),
        files=[
            {"path": portable(p, folder), "images": portable(reader.images_root(i), folder)}
            for i, p in enumerate(reader.files)
        ],
        index_digest=files.file_digest(folder / INDEX),
    )
    return result


def portable(path: Path, folder: Path) -> str:
    """`path` relative to the pool's folder if both are in one workdir, so that it can be moved; else absolute."""
    path, folder = path.resolve(), folder.resolve()
    return os.path.relpath(path, folder) if path.is_relative_to(folder.parent) else str(path)


def _write_index(path: Path, rows: pa.Table, *, packed: bool) -> None:
    table = rows.append_column("split", pa.repeat(SPLIT, rows.num_rows))
    files.write_parquet(path, table.select(_COLUMNS + ([] if packed else _LOCATION)))


def _write_rejects(path: Path, rejects: pa.Table, names: Sequence[str]) -> None:
    """Writes one line per record: its original id, its source, the reason, its file and its number in the file."""
    with files.replacing(path) as temporary, open(temporary, "w", encoding="utf-8", newline="\n") as f:
        for batch in rejects.to_batches(max_chunksize=65536):
            for row in batch.to_pylist():
                line = {
                    "id": json.loads(row["id"]),
                    "source": row["source"],
                    "reason": row["reason"],
                    "detail": row["detail"],
                    "file": names[row["file"]],
                    "record": row["number"],
                }
                f.write(json.dumps(line) + "\n")


def file_names(paths: Sequence[Path]) -> list[str]:
    """The files' paths relative to their common folder."""
    common = os.path.commonpath([p.parent for p in paths])
    return [os.path.relpath(p, common) for p in paths]


def _pack(
    folder: Path, reader: Reader, config: IngestConfig, rows: pa.Table, distributed: DistributedPasses | None
) -> None:
    from mmssr_jax.pool.tfds_builder import PackedSample, PoolBuilder  # TFDS takes a second to import

    positions, ids = rows["position"].to_numpy(), rows["id"]

    def samples(first: int) -> Iterator[PackedSample]:
        for row, record in enumerate(used_records(reader, positions[first:]), first):
            id = ids[row].as_py()
            try:
                sample = read_sample(record, reader.images_root(record.file), config.rules, id=id)
            except RejectedError as e:
                raise UserError(
                    f"sample {id!r} was valid when it was checked, but not when it was packed ({e}); "
                    f"--overwrite=ingest checks the pool again"
                ) from None
            yield PackedSample(sample, record.raw)

    n_bytes = pc.sum(rows["image_bytes"]).as_py() + 2 * pc.sum(rows["length"]).as_py()
    if distributed is not None:
        distributed.pack(folder, rows, n_bytes)
    PoolBuilder(folder, samples=samples, n_samples=rows.num_rows, n_bytes=n_bytes).download_and_prepare()
