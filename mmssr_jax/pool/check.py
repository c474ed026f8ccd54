"""The second pass over a pool: are the pictures there, and can they be decoded?"""

from __future__ import annotations

import io
import os
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import Literal

import pyarrow as pa

from mmssr_jax.core import files
from mmssr_jax.core.progress import Progress
from mmssr_jax.core.sample import ImageRef
from mmssr_jax.images.decode import ImageError, check_header, check_image
from mmssr_jax.images.frames import FrameRef, check_video
from mmssr_jax.pool.identity import RecordConfig
from mmssr_jax.pool.parse import read_sample, used_records
from mmssr_jax.pool.reasons import Reason, RejectedError
from mmssr_jax.pool.record import Reader, Record

Verify = Literal["full", "header"]

# One row a sample: the size of its pictures, and what is wrong with them (null: nothing).
CHECKS = pa.schema([("image_bytes", pa.int64()), ("reason", pa.string()), ("detail", pa.string())])
_Checked = tuple[int, str | None, str | None]
BLOCK = 2048  # rows; all that an interruption loses
_BATCH = 32  # rows that a thread takes at once


def check_images(
    reader: Reader,
    rows: pa.Table,
    rules: RecordConfig,
    *,
    verify: Verify,
    max_pixels: int,
    folder: Path | None = None,
) -> pa.Table:
    """Checks the pictures of every row.

    Args:
      reader: where the rows come from.
      rows: what the first pass left.
      rules: as in the first pass.
      verify: decode the pictures, or read their headers only.
      max_pixels: larger pictures are rejected.
      folder: where each finished block of rows is kept, so that a run that was cut off goes on after it.

    Returns:
      `CHECKS`, row by row.
    """
    positions = rows["position"].to_numpy()
    blocks: list[pa.Table] = []
    while folder is not None and (path := block_path(folder, len(blocks))).exists():
        blocks.append(files.read_parquet(path))
    done = sum(b.num_rows for b in blocks)
    progress = Progress("ingest: checking pictures", len(positions), done=done)
    records = used_records(reader, positions[done:])

    def check(batch: list[Record]) -> list[_Checked]:
        roots = (reader.images_root(record.file) for record in batch)
        return [_check_record(r, root, rules, verify, max_pixels) for r, root in zip(batch, roots, strict=True)]

    with ThreadPoolExecutor(os.cpu_count()) as threads:
        while block := list(islice(records, BLOCK)):
            results: list[_Checked] = []
            for checked in threads.map(check, [block[i : i + _BATCH] for i in range(0, len(block), _BATCH)]):
                results += checked
                progress.add(len(checked))
            columns = zip(zip(*results, strict=True), CHECKS, strict=True)
            blocks.append(pa.table([pa.array(c, f.type) for c, f in columns], CHECKS))
            if folder is not None:
                files.write_parquet(block_path(folder, len(blocks) - 1), blocks[-1])
    return pa.concat_tables(blocks) if blocks else CHECKS.empty_table()


def _check_record(record: Record, root: Path, rules: RecordConfig, verify: Verify, max_pixels: int) -> _Checked:
    """One row of `CHECKS`."""
    try:
        sample = read_sample(record, root, rules, id="")
        return sum(_check(image, verify, max_pixels) for image in sample.images), None, None
    except RejectedError as e:
        return 0, str(e.reason), e.detail


def block_path(folder: Path, number: int) -> Path:
    """Where block `number` of the checked rows is kept."""
    return folder / f"block-{number:06d}.parquet"


def _check(image: ImageRef, verify: Verify, max_pixels: int) -> int:
    """The picture's size in bytes.

    Raises:
      RejectedError: it cannot be read.
    """
    name = image.path.name if image.path else "the picture"
    try:
        if isinstance(image, FrameRef):
            return _check_frame(image, verify, max_pixels)
        if verify == "header":
            with open(image.path, "rb") if image.path else io.BytesIO(image.read()) as file:
                check_header(file, max_pixels=max_pixels)
                return file.seek(0, os.SEEK_END)
        data = image.read()
        check_image(data, max_pixels=max_pixels)
        return len(data)
    except OSError as e:
        raise RejectedError(Reason.UNREADABLE_IMAGE, f"{name}: {e.strerror or e}") from None
    except ImageError as e:
        raise RejectedError(Reason(e.defect), f"{name}: {e}") from None


def _check_frame(frame: FrameRef, verify: Verify, max_pixels: int) -> int:
    """The video's size in bytes, with its first frame; all frames are checked with that one."""
    if frame.number > 0:
        return 0
    check_video(*frame.video, max_pixels=max_pixels, decode=verify == "full")
    return frame.video[0].stat().st_size
