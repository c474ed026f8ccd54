"""The first pass over a pool: parses every record's text without opening its images.

With `RecordConfig.frame_rate` the index of each video is read, since the number of its frames follows from it.
"""

from __future__ import annotations

import dataclasses
import itertools
import json
import re
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from mmssr_jax.core.sample import IMAGE_TAG, Sample, Turn
from mmssr_jax.pool.config import RecordConfig
from mmssr_jax.pool.conversation import Conversation, parse_conversation
from mmssr_jax.pool.identity import UNKNOWN_SOURCE, content_hash, original_id, source_of
from mmssr_jax.pool.limits import MAX_RECORD_BYTES
from mmssr_jax.pool.media import image_names, video_names
from mmssr_jax.pool.reader import Reader
from mmssr_jax.pool.reasons import Reason, RejectedError
from mmssr_jax.pool.record import Record, image_refs, video_refs
from mmssr_jax.pool.turn_ratings import drop_turns

ROWS = pa.schema(
    [
        ("position", pa.int64()),  # of the record in the pool
        ("content", pa.uint64()),
        ("orig_id", pa.string()),
        ("source", pa.string()),
        ("n_images", pa.int32()),
        ("n_turns", pa.int32()),
        ("repairs", pa.list_(pa.string())),
        ("file", pa.int32()),
        ("number", pa.int64()),
        ("offset", pa.int64()),
        ("length", pa.int32()),
        ("crc", pa.uint32()),  # of the record's bytes, to detect a file that changed after ingestion
    ]
)
REJECTS = pa.schema(
    [
        ("position", pa.int64()),
        ("content", pa.uint64()),
        ("id", pa.string()),  # as JSON: an id may be a number, or absent
        ("source", pa.string()),
        ("reason", pa.string()),
        ("detail", pa.string()),
        ("file", pa.int32()),
        ("number", pa.int64()),
    ]
)
CHUNK = 1 << 16  # rows per chunk of a column


class Columns:
    """Collects rows into Arrow columns chunk by chunk, so that millions of rows are not millions of objects."""

    def __init__(self, schema: pa.Schema):
        self._schema = schema
        self._batches: list[pa.RecordBatch] = []
        self._pending: list[tuple[Any, ...]] = []

    def add(self, *values: Any) -> None:
        """Adds one row, its values in the schema's order."""
        self._pending.append(values)
        if len(self._pending) == CHUNK:
            self._flush()

    def table(self) -> pa.Table:
        """All rows added."""
        self._flush()
        return pa.Table.from_batches(self._batches, self._schema)

    def _flush(self) -> None:
        if self._pending:
            columns = zip(*self._pending, strict=True)
            arrays = [pa.array(c, f.type) for c, f in zip(columns, self._schema, strict=True)]
            self._batches.append(pa.RecordBatch.from_arrays(arrays, schema=self._schema))
            self._pending = []


@dataclasses.dataclass(frozen=True)
class Scan:
    """The result of the first pass.

    Attributes:
      rows: the accepted records, with schema `ROWS`, in the pool's order.
      rejects: the rejected records, with schema `REJECTS`, in the pool's order.
    """

    rows: pa.Table
    rejects: pa.Table

    @property
    def n_records(self) -> int:
        return self.rows.num_rows + self.rejects.num_rows


def scan(reader: Reader, rules: RecordConfig, *, limit: int | None = None) -> Scan:
    """Parses all records, or the first `limit`.

    Raises:
      UserError: a file is not readable.
    """
    rows, rejects = Columns(ROWS), Columns(REJECTS)
    records = reader.records(images=False, label="ingest: reading")
    for position, record in enumerate(itertools.islice(records, limit)):
        if not record.error:
            try:
                content = content_hash(record.value)
            except RecursionError:  # its text was parsed, with fewer calls on the stack
                record = dataclasses.replace(record, value=None, error="nested too deeply")
        if record.error:
            content = zlib.crc32(record.raw)
        try:
            conversation, orig_id, source = read(record, rules)
            n_images = _n_images(conversation, reader.images_root(record.file), rules)
        except RejectedError as e:
            named = _named(record, rules)
            rejects.add(position, content, *named, str(e.reason), e.detail, record.file, record.number)
            continue
        rows.add(
            position, content, orig_id, source, n_images, len(conversation.turns),
            [str(m) for m in conversation.repairs],
            record.file, record.number, record.offset, len(record.raw), zlib.crc32(record.raw),
        )  # fmt: skip
    return Scan(rows.table(), rejects.table())


def read(record: Record, rules: RecordConfig) -> tuple[Conversation, str | None, str]:
    """A record's conversation, original id and source.

    Raises:
      RejectedError: the record cannot be used.
    """
    if record.error:
        raise RejectedError(Reason.UNREADABLE_RECORD, record.error)
    if len(record.raw) > MAX_RECORD_BYTES:
        detail = f"has {len(record.raw)} bytes, more than the limit of {MAX_RECORD_BYTES >> 20} MiB"
        raise RejectedError(Reason.UNREADABLE_RECORD, detail)
    value = record.value
    if not isinstance(value, dict):
        raise RejectedError(Reason.NOT_AN_OBJECT, f"is a {type(value).__name__}, expected an object")
    orig_id, id_repairs = original_id(value, rules)
    conversation = parse_conversation(value, repair=rules.repair == "llava")
    conversation = drop_turns(conversation, value, rules.turns)
    source = source_of(value, conversation.images or conversation.videos, rules.source)
    return dataclasses.replace(conversation, repairs=id_repairs + conversation.repairs), orig_id, source


def read_sample(record: Record, images_root: Path, rules: RecordConfig, *, id: str) -> Sample:
    """Converts a record to a sample; a video becomes its frames by `rules`, and its tag as many tags.

    Raises:
      RejectedError: the record cannot be used, or its images do not exist.
    """
    conversation, _, source = read(record, rules)
    turns, names = conversation.turns, conversation.images
    if conversation.videos and record.images is None:
        videos = video_refs(conversation.videos, images_root, rules)
        turns = _repeat_tags(turns, [len(video) for video in videos])
        images = tuple(frame for video in videos for frame in video)
    else:
        if conversation.videos:  # a packed pool embeds the frames of its videos
            turns = _repeat_tags(turns, [rules.frames] * len(conversation.videos))
            names = tuple(name for name in conversation.videos for _ in range(rules.frames))
        images = image_refs(record, names, images_root, follow_links=rules.follow_links)
    return Sample(id=id, source=source, turns=turns, images=images, system=conversation.system)


def _repeat_tags(turns: tuple[Turn, ...], counts: list[int]) -> tuple[Turn, ...]:
    """The turns with each tag of a video repeated for each of its frames."""
    following = iter(counts)
    return tuple(Turn(t.role, re.sub(IMAGE_TAG, lambda _: IMAGE_TAG * next(following), t.text)) for t in turns)


def _n_images(conversation: Conversation, images_root: Path, rules: RecordConfig) -> int:
    """The number of a record's images, the frames of its videos included.

    Raises:
      RejectedError: a video whose frames would have to be counted cannot be read.
    """
    if rules.frame_rate is None or not conversation.videos:
        return len(conversation.images) + rules.frames * len(conversation.videos)
    return sum(len(video) for video in video_refs(conversation.videos, images_root, rules))


def _named(record: Record, rules: RecordConfig) -> tuple[str, str]:
    """The id (as JSON) and source of a rejected record, as far as they are readable."""
    if not isinstance(record.value, dict):
        return "null", UNKNOWN_SOURCE
    value = record.value.get("id" if rules.id == "auto" else rules.id)
    id_json = json.dumps(value) if isinstance(value, (str, int, float, bool)) else "null"
    try:
        names = image_names(record.value) or video_names(record.value)
        return id_json, source_of(record.value, names, rules.source)
    except RejectedError:
        return id_json, UNKNOWN_SOURCE


def used_records(reader: Reader, positions: np.ndarray) -> Iterator[Record]:
    """The records at the sorted `positions`, int64 [records], in order."""
    wanted = iter(positions.tolist())
    target = next(wanted, None)
    for position, record in enumerate(reader.records(images=True)):
        if target is None:
            return
        if position == target:
            yield record
            target = next(wanted, None)
