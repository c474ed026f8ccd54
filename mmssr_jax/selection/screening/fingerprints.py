"""Fingerprints of a pool, one row per sample, for near-duplicate detection and decontamination.

id | text: MinHash signature, 128 x uint16 as 256 bytes | images: list of 16 bytes, dHash and pHash of each image
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from concurrent.futures import Executor

import numpy as np
import pyarrow as pa
from PIL import Image

from mmssr_jax.core.sample import ImageRef, Sample
from mmssr_jax.selection import id_files as ids_lib
from mmssr_jax.selection.screening import text_hash
from mmssr_jax.selection.screening.image_hash import image_hash

SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("text", pa.binary(2 * text_hash.PLACES)),
        ("images", pa.list_(pa.binary(16))),
    ]
)

Decode = Callable[[ImageRef], Image.Image]


def fingerprint(samples: Sequence[Sample], decode: Decode, workers: Executor | None = None) -> pa.Table:
    """The fingerprints of some samples.

    Args:
      samples: samples of the pool.
      decode: decodes an image.
      workers: threads to decode in.
    """
    flat = [image for sample in samples for image in sample.images]

    def hashed(image: ImageRef) -> bytes:
        return image_hash(decode(image)).tobytes()

    hashes = iter(list(workers.map(hashed, flat) if workers is not None else map(hashed, flat)))
    signatures = text_hash.minhash([text_hash.plain_text(sample) for sample in samples])
    columns = [
        [sample.id for sample in samples],
        [row.tobytes() for row in signatures],
        [[next(hashes) for _ in sample.images] for sample in samples],
    ]
    return pa.table([pa.array(c, f.type) for c, f in zip(columns, SCHEMA, strict=True)], schema=SCHEMA)


@dataclasses.dataclass(frozen=True)
class Fingerprints:
    """A table of fingerprints as arrays.

    Attributes:
      ids: Arrow strings [samples].
      text: uint16 [samples, 128].
      images: uint64 [images, 2], sample by sample.
      counts: int64 [samples], the number of images of each sample.
    """

    ids: pa.Array | pa.ChunkedArray
    text: np.ndarray
    images: np.ndarray
    counts: np.ndarray

    @classmethod
    def from_arrow(cls, table: pa.Table) -> Fingerprints:
        """From a table of `SCHEMA`."""
        lists = table["images"].combine_chunks()
        return cls(
            table["id"],
            _fixed(table["text"].combine_chunks(), np.dtype("<u2"), text_hash.PLACES),
            _fixed(lists.flatten(), np.dtype("<u8"), 2),
            np.asarray(lists.value_lengths()).astype(np.int64),
        )

    def take(self, rows: np.ndarray) -> Fingerprints:
        """The fingerprints of `rows` (int64 [N]), in that order."""
        begin = np.cumsum(self.counts) - self.counts
        counts = self.counts[rows]
        first = np.repeat(begin[rows] - (np.cumsum(counts) - counts), counts)
        return Fingerprints(
            ids_lib.take(self.ids, rows), self.text[rows], self.images[first + np.arange(len(first))], counts
        )


def _fixed(column: pa.Array, dtype: np.dtype, width: int) -> np.ndarray:
    """A column of fixed-size binary values as numbers [rows, width]."""
    data = column.buffers()[1]
    if data is None:
        return np.zeros((0, width), dtype)
    return np.frombuffer(data, dtype)[column.offset * width :][: len(column) * width].reshape(len(column), width)
