"""The input pipeline (grain): draw from a mixture, encode, pack into rows, batch; checkpoints keep its state."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Callable, Iterator
from typing import Any

import grain
import numpy as np
from absl import logging

from mmssr_jax.core.errors import UserError
from mmssr_jax.core.sample import Sample
from mmssr_jax.data.batch import Batch, BatchShape, unpack_packed
from mmssr_jax.data.dealing import Dealing
from mmssr_jax.data.example import Example
from mmssr_jax.data.mixture import as_mixture
from mmssr_jax.data.processor import Processor
from mmssr_jax.data.subset import SampleSource
from mmssr_jax.images.anyres import as_weighted, shift
from mmssr_jax.images.image_blocks import ImageBlocks, count
from mmssr_jax.images.native import NativeViewConfig

Encode = Callable[[Any], Example]
"""sample -> Example; raises OSError or ValueError for a sample that cannot be used."""

_FEATURES = (
    "tokens",
    "positions",
    "visible_until",
    "image_slot",
    "pixels",
    "loss_position",
    "loss_target",
    "loss_weight",
)
_BINS_PER_BATCH = 4  # more bins waste less space, but mix samples over a longer stretch


@dataclasses.dataclass(frozen=True)
class BatchProvenance:
    """Which samples a batch holds: entry [b, k] belongs to the k-th sequence packed into row b.

    Attributes:
      samples: int32 [B, K], sample numbers of the mixture; -1 for none.
      cut: int32 [B, K], text tokens that were truncated.
    """

    samples: np.ndarray
    cut: np.ndarray

    @property
    def drawn(self) -> np.ndarray:
        """The sample numbers, int32 [samples]."""
        return self.samples[self.samples >= 0]


class _Encode:
    """Encodes one sample; a sample that does not fit is skipped, and logged by id once.

    The stream is endless, so a pool without a usable sample must be detected here. Between two uses of the same sample
    lie fewer than two epochs, hence two epochs of misses mean that no sample is usable.
    """

    def __init__(self, encode: Encode, shape: BatchShape, *, samples: int) -> None:
        self._encode = encode
        self._shape = shape
        self._samples = samples
        self._lock = threading.Lock()  # shared by grain's threads
        self._unusable: set[int] = set()
        self._misses = 0

    def __call__(self, item: tuple[int, Sample]) -> dict[str, np.ndarray] | None:
        number, sample = item
        try:
            example = self._encode_checked(sample)
        except (OSError, ValueError) as e:
            self._skip(number, sample.id, e)
            return None
        self._misses = 0
        features = {name: getattr(example, name) for name in _FEATURES}
        features["loss_q"] = np.zeros_like(example.loss_weight) if example.loss_q is None else example.loss_q
        if isinstance(example.pixels, ImageBlocks):
            features["pixels"], features["place"] = example.pixels
        if self._shape.weighted:
            features["image_slot"], features["image_weight"] = as_weighted(example.image_slot)
        return {**features, "sample": np.array([number], np.int32), "cut": np.array([example.cut], np.int32)}

    def _encode_checked(self, sample: Sample) -> Example:
        example = self._encode(sample)
        for found, capacity, what in (
            (len(example), self._shape.length, "tokens"),
            (len(example.loss_position), self._shape.targets, "targets"),
            (example.images, self._shape.images, "images"),
        ):
            if found > capacity:
                raise ValueError(f"it has {found} {what}, a row has room for {capacity}")
        return example

    def _skip(self, number: int, name: str, cause: Exception) -> None:
        with self._lock:
            self._misses += 1
            hopeless = self._misses > 2 * self._samples
            known = number in self._unusable
            self._unusable.add(number)
        if hopeless:
            raise UserError(f"no sample can be trained on; the last one tried, {name}: {cause}")
        if not known:
            logging.warning("sample %s is not trained on: %s", name, cause)


def training_batches(
    samples: SampleSource,
    encode: Encode,
    shape: BatchShape,
    processor: Processor,
    *,
    seed: int,
    threads: int = 2,
    part: tuple[int, int] = (0, 1),
    draws: int | None = None,
    global_packing: bool = False,
) -> grain.IterDataset:
    """An endless, shuffled, packed stream of batches over a pool or a mixture.

    Elements are `(Batch, BatchProvenance)`; `get_state` and `set_state` of the iterator resume exactly. The order does
    not depend on `threads`.

    Args:
      samples: a pool or other source, or a `Mixture`.
      encode: sample -> Example; raises OSError or ValueError for a sample that cannot be used.
      shape: of the global batch.
      processor: of the model that `encode` encodes for.
      seed: of the order, which differs from epoch to epoch.
      threads: decoding threads.
      part: (p, P): process p of P yields rows / P rows of every batch, made from the draws that `Dealing` gives it.
      draws: the number of samples to draw; rows after the last of them are empty.
      global_packing: every process packs all draws and keeps its rows / P rows of a batch: the batches are those of one
        process.

    Raises:
      UserError: there is no sample or, while iterating, no sample can be used.
    """
    if not len(samples):
        raise UserError("there is no sample to train on")
    process, processes = part
    rows = shape.rows // processes
    packers = 1 if global_packing else processes
    dealing = Dealing(process % packers, packers)
    ds = as_mixture(samples).dataset(seed)
    if packers > 1:
        ds = grain.MapDataset.select_from_datasets([ds], dealing)
    if draws is not None:
        ds = ds.slice(slice(dealing.share(draws)))
    ds = ds.map(_Encode(encode, shape, samples=len(samples)))
    stream = ds.to_iter_dataset(grain.ReadOptions(num_threads=threads, prefetch_buffer_size=64))
    blocks = isinstance(processor.views, NativeViewConfig)
    packed_rows = shape.rows // packers
    packed = _packed(stream, shape, packed_rows, seed=seed, blocks=blocks)
    packed = packed.batch(packed_rows, drop_remainder=draws is None)
    if packed_rows > rows:
        packed = packed.map(_RowsOf(process * rows, rows))
    convert = _ToBatch(processor.tokens_per_image, rows, fixed_images=processes > 1, first_row=process * rows)
    batches = packed.map(convert)
    return batches if draws is None else _ThenEmpty(batches, _empty(shape, rows, processor))


def validation_batches(
    samples: SampleSource, encode: Encode, shape: BatchShape, processor: Processor
) -> Iterator[tuple[Batch, BatchProvenance]]:
    """One pass over the samples in order, packed as in training; the last batch is padded with empty rows.

    Arguments are those of `training_batches`; samples that cannot be used are skipped.
    """
    ds = as_mixture(samples).ordered().map(_Encode(encode, shape, samples=len(samples)))
    stream = ds.to_iter_dataset(grain.ReadOptions(num_threads=2, prefetch_buffer_size=16))
    blocks = isinstance(processor.views, NativeViewConfig)
    packed = _packed(stream, shape, shape.rows, seed=0, blocks=blocks).batch(shape.rows, drop_remainder=False)
    yield from packed.map(_ToBatch(processor.tokens_per_image, shape.rows))


def _packed(stream: grain.IterDataset, shape: BatchShape, rows: int, *, seed: int, blocks: bool) -> grain.IterDataset:
    """Rows of several examples each, as dicts; see `unpack_packed`."""
    lengths = {
        **dict.fromkeys(("tokens", "positions", "visible_until", "image_slot"), shape.length),
        **dict.fromkeys(("loss_position", "loss_target", "loss_weight", "loss_q"), shape.targets),
        **({"image_weight": shape.length} if shape.weighted else {}),
        **dict.fromkeys(("pixels", "place") if blocks else ("pixels",), shape.images),
        **dict.fromkeys(("sample", "cut"), _sequences(shape)),
    }
    return grain.experimental.FirstFitPackIterDataset(
        stream, length_struct=lengths, num_packing_bins=rows * _BINS_PER_BATCH, seed=seed
    )


def _sequences(shape: BatchShape) -> int:
    """The most sequences of a row."""
    return shape.length // 8


@dataclasses.dataclass(frozen=True)
class _RowsOf:
    """The `rows` packed rows of a batch from `first` on; fewer where the batch ends before."""

    first: int
    rows: int

    def __call__(self, packed: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        return {name: rows[self.first : self.first + self.rows] for name, rows in packed.items()}


@dataclasses.dataclass(frozen=True)
class _ToBatch:
    """At most `rows` packed rows to a batch of that many; `first_row` is the position of its first row in the global
    batch."""

    tokens_per_image: int
    rows: int
    fixed_images: bool = False
    first_row: int = 0

    def __call__(self, packed: dict[str, np.ndarray]) -> tuple[Batch, BatchProvenance]:
        missing = self.rows - len(packed["tokens"])
        if missing:
            packed = {k: np.pad(v, [(0, missing)] + [(0, 0)] * (v.ndim - 1)) for k, v in packed.items()}
        used = packed["sample_segment_ids"] > 0
        provenance = BatchProvenance(np.where(used, packed["sample"], -1), np.where(used, packed["cut"], 0))
        batch = unpack_packed(packed, tokens_per_image=self.tokens_per_image, fixed_images=self.fixed_images)
        if self.first_row:
            offset = self.first_row * count(batch.pixels) // len(batch.tokens) * self.tokens_per_image
            batch = dataclasses.replace(batch, image_index=shift(batch.image_index, offset))
        return batch, provenance


def _empty(shape: BatchShape, rows: int, processor: Processor) -> tuple[Batch, BatchProvenance]:
    """A batch of padding."""
    none = np.full((rows, _sequences(shape)), -1, np.int32)
    return processor.collate([], dataclasses.replace(shape, rows=rows)), BatchProvenance(none, np.zeros_like(none))


class _ThenEmpty(grain.IterDataset):
    """An endless stream: the elements of a stream, then one element repeated.

    One process's part of the data may end before another's, and a batch needs the rows of all.
    """

    def __init__(self, parent: grain.IterDataset, empty: tuple[Batch, BatchProvenance]):
        super().__init__(parent)
        self._empty = empty

    def __iter__(self) -> grain.DatasetIterator:
        return _ThenEmptyIterator(iter(self._parent), self._empty)


class _ThenEmptyIterator(grain.DatasetIterator):
    """The iterator of `_ThenEmpty`; its state is that of the stream."""

    def __init__(self, parent: grain.DatasetIterator, empty: tuple[Batch, BatchProvenance]):
        super().__init__(parent)
        self._empty = empty

    def __next__(self) -> tuple[Batch, BatchProvenance]:
        return next(self._parent, self._empty)

    def get_state(self) -> dict[str, Any]:
        return dict(self._parent.get_state())

    def set_state(self, state: dict[str, Any]) -> None:
        self._parent.set_state(state)
