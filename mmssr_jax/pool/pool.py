"""An ingested pool: samples by index or id, read from the original JSON files or from ArrayRecord shards."""

from __future__ import annotations

import bisect
import functools
import json
import os
import threading
import zlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mmssr_jax.core import files
from mmssr_jax.core.artifact import MANIFEST, read_manifest
from mmssr_jax.core.config import to_dataclass
from mmssr_jax.core.errors import UserError
from mmssr_jax.core.sample import Sample
from mmssr_jax.core.saved import damaged, reading
from mmssr_jax.pool.config import RecordConfig
from mmssr_jax.pool.parse import read_sample
from mmssr_jax.pool.reasons import RejectedError
from mmssr_jax.pool.record import Record, encoded_size
from mmssr_jax.pool.writer import INDEX, SPLIT


def open_pool(folder: Path) -> Pool:
    """Opens the pool that the ingest stage wrote to `folder`.

    Raises:
      UserError: there is no finished pool.
    """
    return Pool(folder, None)


class Pool:
    """A sequence of samples in the original order; picklable, and safe to read from many threads.

    Args:
      folder: the pool's folder.
      rows: int64 [samples], the rows of the index that this view contains, in order; None for all.
    """

    def __init__(self, folder: Path, rows: np.ndarray | None):
        self.folder = folder
        self._rows = rows
        self.manifest: Mapping[str, Any] = read_manifest(folder, stage="ingest")
        self._store = _open_store(folder, self.manifest)

    def __reduce__(self) -> tuple[Any, ...]:
        return Pool, (self.folder, self._rows)

    @functools.cached_property
    def index(self) -> pa.Table:
        """The index: columns `id`, `source`, `n_images`, `n_turns`, `split`, `orig_id`, `repairs`, ..."""
        path = self.folder / INDEX
        if self.manifest.get("index_digest", "") != files.file_digest(path):
            raise damaged(path, "its content is not what was written")
        table = files.read_parquet(path)
        return table if self._rows is None else table.take(pa.array(self._rows))

    @functools.cached_property
    def ids(self) -> np.ndarray:
        """str objects [samples]. For many millions of samples prefer `index["id"]`, an Arrow column."""
        return self.index["id"].to_numpy()

    @functools.cached_property
    def sources(self) -> np.ndarray:
        """str objects [samples]; equal sources share one object."""
        encoded = self.index["source"].combine_chunks().dictionary_encode()
        return encoded.dictionary.to_numpy(zero_copy_only=False)[encoded.indices.to_numpy()]

    @functools.cached_property
    def n_images(self) -> np.ndarray:
        """int32 [samples]."""
        return self.index["n_images"].to_numpy()

    @functools.cached_property
    def n_turns(self) -> np.ndarray:
        """int32 [samples]; a question and its answer count as two turns."""
        return self.index["n_turns"].to_numpy()

    def __len__(self) -> int:
        return self.index.num_rows

    def __getitem__(self, i: int) -> Sample:
        """The sample at index `i`.

        Raises:
          UserError: a file that the pool is read from was changed or removed.
        """
        return self._store.sample(*self._at(i))

    def __iter__(self) -> Iterator[Sample]:
        return (self[i] for i in range(len(self)))

    def record(self, i: int) -> dict[str, Any]:
        """The original record of sample `i`; raises as `__getitem__`."""
        return json.loads(self.record_bytes(i))

    def record_bytes(self, i: int) -> bytes:
        """The original bytes of `record(i)`; raises as `__getitem__`."""
        return self._store.record(*self._at(i))

    def position(self, id: str) -> int:
        """The index of the sample with this id.

        Raises:
          UserError: the pool has no such id.
        """
        order, ids = self._id_order, self.index["id"]
        at = bisect.bisect_left(order, id, key=lambda row: ids[row].as_py())
        if at == len(order) or ids[order[at]].as_py() != id:
            raise UserError(f"{self.folder}: the pool has no sample {id!r}")
        return int(order[at])

    def subset(self, ids: Sequence[str] | np.ndarray | pa.Array | pa.ChunkedArray) -> Pool:
        """A view of the samples `ids` [samples], in that order; nothing is copied.

        Raises:
          UserError: an id is not in the pool.
        """
        wanted = ids if isinstance(ids, (pa.Array, pa.ChunkedArray)) else pa.array(ids, pa.string())
        indices = pc.index_in(wanted, value_set=self.index["id"])
        if indices.null_count:
            missing = wanted.filter(pc.is_null(indices))
            raise UserError(
                f"{self.folder}: {len(missing)} of {len(wanted)} ids are not in the pool, the first is "
                f"{missing[0].as_py()!r}"
            )
        rows = np.asarray(indices).astype(np.int64)
        return Pool(self.folder, rows if self._rows is None else self._rows[rows])

    @functools.cached_property
    def _id_order(self) -> np.ndarray:
        """Row indices sorted by id (by code point, as Python compares), for binary search."""
        return pc.sort_indices(self.index, sort_keys=[("id", "ascending")]).to_numpy()

    def _at(self, i: int) -> tuple[int, dict[str, Any]]:
        """The row in the unfiltered pool, and its entry in the index."""
        i = i.__index__()
        if not -len(self) <= i < len(self):
            raise IndexError(f"row {i} of a pool of {len(self)} samples")
        i %= len(self)
        entry = {name: column[i].as_py() for name, column in self._place}
        return (i if self._rows is None else int(self._rows[i])), entry

    @functools.cached_property
    def _place(self) -> list[tuple[str, pa.ChunkedArray]]:
        return [(name, self.index[name]) for name in self._store.columns if name in self.index.schema.names]


class _InPlace:
    """Reads records from the original JSON files."""

    columns = ("id", "file", "offset", "length", "crc", "image_bytes")

    def __init__(self, folder: Path, manifest: Mapping[str, Any]):
        self._handles: dict[int, int] = {}
        # Paths inside the workdir are stored relative to the pool's folder, others absolute.
        with reading(folder / MANIFEST):
            self._files = [folder / f["path"] for f in manifest["files"]]
            self._images = [(folder / f["images"]).resolve() for f in manifest["files"]]
            self._rules = to_dataclass(RecordConfig, manifest["rules"], "rules")

    def __del__(self) -> None:
        for handle in self._handles.values():
            os.close(handle)

    def sample(self, row: int, entry: dict[str, Any]) -> Sample:
        raw = self.record(row, entry)
        record = Record(file=entry["file"], number=row, offset=entry["offset"], raw=raw, value=json.loads(raw))
        try:
            sample = read_sample(record, self._images[entry["file"]], self._rules, id=entry["id"])
        except RejectedError as e:
            raise UserError(f"sample {entry['id']!r} can no longer be read: {e}") from None
        size = sum(encoded_size(image) for image in sample.images)
        if size != entry.get("image_bytes", size):  # pools of earlier versions have no sizes
            raise UserError(
                f"the images of sample {entry['id']!r} were changed after it was ingested ({entry['image_bytes']} "
                f"bytes then, {size} now); ingest the pool again with --overwrite=ingest"
            )
        return sample

    def record(self, row: int, entry: dict[str, Any]) -> bytes:
        raw = os.pread(self._handle(entry["file"]), entry["length"], entry["offset"])
        if zlib.crc32(raw) != entry["crc"]:
            raise UserError(
                f"{self._files[entry['file']]} was changed after it was ingested (sample {entry['id']!r}); "
                f"ingest it again with --overwrite=ingest"
            )
        return raw

    def _handle(self, file: int) -> int:
        if file not in self._handles:
            try:
                self._handles[file] = os.open(self._files[file], os.O_RDONLY)
            except OSError as e:
                raise UserError(f"{self._files[file]}, which the pool is read from: {e.strerror}") from None
        return self._handles[file]


# TFDS imports what it opens a folder with lazily under its own locks: two threads that open pools at once can deadlock.
_OPENING = threading.Lock()


class _Packed:
    """Reads records from the pool's ArrayRecord shards."""

    columns = ("id",)

    def __init__(self, folder: Path):
        # While TFDS is imported it replaces `__import__` for all threads, and what another one imports meanwhile comes
        # out wrong. So here, and not with the first record, which the threads of a loader read.
        from mmssr_jax.pool import tfds_builder

        self._folder, self._tfds = folder, tfds_builder

    def sample(self, row: int, entry: dict[str, Any]) -> Sample:
        return self._packed(row).sample

    def record(self, row: int, entry: dict[str, Any]) -> bytes:
        return self._packed(row).record

    def _packed(self, row: int) -> Any:
        with _OPENING:
            source = self._source
        with reading(self._folder):
            return self._tfds.from_example(source[row])

    @functools.cached_property
    def _source(self) -> Any:
        from mmssr_jax.pool.tfds_folder import open_tfds

        features = self._tfds.features
        with reading(self._folder):
            builder = open_tfds(self._folder)
            if repr(builder.info.features) not in (repr(features()), repr(features(frames=False))):
                raise damaged(self._folder / "features.json", "its features are not those of a packed pool")
            return builder.as_data_source(SPLIT)


def _open_store(folder: Path, manifest: Mapping[str, Any]) -> _InPlace | _Packed:
    if manifest.get("layout") not in ("packed", "in_place"):
        raise damaged(folder / MANIFEST, f"its layout is {manifest.get('layout')!r}")
    return _Packed(folder) if manifest["layout"] == "packed" else _InPlace(folder, manifest)
