"""The second pass over a pool: checks that the images exist and can be decoded."""

from __future__ import annotations

import collections
import contextlib
import io
import os
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from pathlib import Path

import pyarrow as pa

from mmssr_jax.core import files
from mmssr_jax.core.progress import Progress
from mmssr_jax.core.sample import MAX_IMAGE_BYTES, ImageRef
from mmssr_jax.images.decode import ImageError, check_header, check_image
from mmssr_jax.images.frames import FrameRef, check_video
from mmssr_jax.pool.config import RecordConfig, Verify
from mmssr_jax.pool.parse import read_sample, used_records
from mmssr_jax.pool.reader import Reader
from mmssr_jax.pool.reasons import Reason, RejectedError
from mmssr_jax.pool.record import Record, encoded_size

# One row per sample: the total size of its images, and their defect (null if there is none).
CHECKS = pa.schema([("image_bytes", pa.int64()), ("reason", pa.string()), ("detail", pa.string())])
_Checked = tuple[int, str | None, str | None]
BLOCK = 2048  # rows per checkpoint: the most work that an interruption loses
_BATCH = 32  # rows per task of a thread


def check_images(
    reader: Reader,
    rows: pa.Table,
    rules: RecordConfig,
    *,
    verify: Verify,
    max_pixels: int,
    folder: Path | None = None,
) -> pa.Table:
    """Checks the images of every row.

    Args:
      reader: the source of the records.
      rows: the rows that the first pass accepted.
      rules: as in the first pass.
      verify: decode the images, or read only their headers.
      max_pixels: images with more pixels are rejected.
      folder: stores each finished block of rows, so that an interrupted run resumes after it.

    Returns:
      A table with the schema `CHECKS`, one row per row of `rows`.
    """
    positions = rows["position"].to_numpy()
    blocks: list[pa.Table] = []
    while folder is not None and (path := block_path(folder, len(blocks))).exists():
        blocks.append(files.read_parquet(path))
    done = sum(b.num_rows for b in blocks)
    progress = Progress("ingest: checking images", len(positions), done=done)
    records = used_records(reader, positions[done:])

    def check(batch: list[Record]) -> list[_Checked]:
        roots = (reader.images_root(record.file) for record in batch)
        return [_check_record(r, root, rules, verify, max_pixels) for r, root in zip(batch, roots, strict=True)]

    with contextlib.closing(_in_threads(check, records, progress)) as results:
        while block := list(islice(results, BLOCK)):
            columns = zip(zip(*block, strict=True), CHECKS, strict=True)
            blocks.append(pa.table([pa.array(c, f.type) for c, f in columns], CHECKS))
            if folder is not None:
                files.write_parquet(block_path(folder, len(blocks) - 1), blocks[-1])
    return pa.concat_tables(blocks) if blocks else CHECKS.empty_table()


def _in_threads(
    check: Callable[[list[Record]], list[_Checked]], records: Iterator[Record], progress: Progress
) -> Generator[_Checked, None, None]:
    """The results of `check` in order; only the records of the tasks under way, with their images, are in memory."""
    n_threads = os.cpu_count() or 1
    tasks: collections.deque[Future[list[_Checked]]] = collections.deque()
    with ThreadPoolExecutor(n_threads) as threads:
        try:
            batch = list(islice(records, _BATCH))
            while batch or tasks:
                if batch:
                    tasks.append(threads.submit(check, batch))
                if not batch or len(tasks) > n_threads:
                    checked = tasks.popleft().result()
                    progress.add(len(checked))
                    yield from checked
                batch = list(islice(records, _BATCH))
        finally:
            for task in tasks:
                task.cancel()


def _check_record(record: Record, root: Path, rules: RecordConfig, verify: Verify, max_pixels: int) -> _Checked:
    """One row of `CHECKS`."""
    try:
        sample = read_sample(record, root, rules, id="")
        return sum(_check(image, verify, max_pixels) for image in sample.images), None, None
    except RejectedError as e:
        return 0, str(e.reason), e.detail


def block_path(folder: Path, number: int) -> Path:
    """The file of checkpoint `number`."""
    return folder / f"block-{number:06d}.parquet"


def _check(image: ImageRef, verify: Verify, max_pixels: int) -> int:
    """The image's size in bytes.

    Raises:
      RejectedError: it cannot be read or decoded.
    """
    name = image.path.name if image.path else "the embedded image"
    try:
        if isinstance(image, FrameRef):
            return _check_frame(image, verify, max_pixels)
        size = encoded_size(image)
        if size > MAX_IMAGE_BYTES:
            detail = f"{name}: has {size} bytes, more than the limit of {MAX_IMAGE_BYTES >> 20} MiB"
            raise RejectedError(Reason.IMAGE_TOO_LARGE, detail)
        if verify == "header":
            with open(image.path, "rb") if image.path else io.BytesIO(image.read()) as file:
                check_header(file, max_pixels=max_pixels)
        else:
            check_image(image.read(), max_pixels=max_pixels)
        return size
    except OSError as e:
        raise RejectedError(Reason.UNREADABLE_IMAGE, f"{name}: {e.strerror or e}") from None
    except ImageError as e:
        raise RejectedError(Reason(e.defect), f"{name}: {e}") from None


def _check_frame(frame: FrameRef, verify: Verify, max_pixels: int) -> int:
    """Checks all frames of a video with its first frame; returns the video's size for that frame and 0 for others."""
    if frame.number > 0:
        return 0
    check_video(*frame.video, max_pixels=max_pixels, decode=verify == "full")
    return encoded_size(frame)
