"""The grain graph of training: shuffled samples, encoded, packed into rows, batched; its state is checkpointed."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Callable
from typing import Any

import grain
import numpy as np
from absl import logging

from mmssr_jax.core.errors import UserError
from mmssr_jax.core.sample import Sample
from mmssr_jax.data.batch import Batch, BatchShape, unpack_packed
from mmssr_jax.data.example import Example

_FEATURES = ("tokens", "positions", "until", "image_slot", "pixels", "loss_position", "loss_target", "loss_weight")
_BINS_PER_BATCH = 4  # more bins waste less; packing mixes neighbours only


@dataclasses.dataclass(frozen=True)
class _Source:
    """A random-access source of (sample number, sample) for grain."""

    samples: Any  # Pool: __len__ and __getitem__ -> Sample

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: Any) -> tuple[int, Sample]:
        return int(index), self.samples[int(index)]


class _Encode:
    """Runs the encoder on one sample; a sample that does not fit is logged by id, once, and left out.

    The stream is endless, so a pool in which nothing fits must be noticed here: two epochs without a usable sample
    (between two uses of one sample lie fewer than two epochs).
    """

    def __init__(self, encode: Callable[[Sample], Example], shape: BatchShape, *, samples: int) -> None:
        self._encode = encode
        self._shape = shape
        self._samples = samples
        self._lock = threading.Lock()  # grain's threads share this object
        self._unusable: set[int] = set()
        self._misses = 0

    def __call__(self, item: tuple[int, Sample]) -> dict[str, np.ndarray] | None:
        number, sample = item
        try:
            example = self._checked(sample)
        except (OSError, ValueError) as e:
            self._missed(number, sample.id, e)
            return None
        self._misses = 0
        features = {name: getattr(example, name) for name in _FEATURES}
        return {**features, "sample": np.array([number], np.int32)}

    def _checked(self, sample: Sample) -> Example:
        example = self._encode(sample)
        for count, room, what in (
            (len(example), self._shape.length, "tokens"),
            (len(example.loss_position), self._shape.targets, "targets"),
            (len(example.pixels), self._shape.images, "images"),
        ):
            if count > room:
                raise ValueError(f"it has {count} {what}, a row has room for {room}")
        return example

    def _missed(self, number: int, name: str, cause: Exception) -> None:
        with self._lock:
            self._misses += 1
            hopeless = self._misses > 2 * self._samples
            known = number in self._unusable
            self._unusable.add(number)
        if hopeless:
            raise UserError(f"no sample can be trained on; the last one, {name}: {cause}")
        if not known:
            logging.warning("sample %s is not trained on: %s", name, cause)


def training_batches(
    samples: Any, encode: Callable[[Sample], Example], shape: BatchShape, *, patches: int, seed: int, threads: int = 2
) -> grain.IterDataset:
    """An endless, shuffled, packed stream of batches over a pool.

    Iterate with `iter(ds)`; the iterator's `get_state`/`set_state` go on exactly where they were. Elements are
    `(Batch, numbers)`: the pool positions of the samples in the batch, -1 for none, for error messages.

    Args:
      samples: a Pool.
      encode: sample -> Example; it may raise OSError or ValueError for a sample that cannot be used.
      shape: rows, their length, images and targets.
      patches: feature rows of one image.
      seed: of the order; every epoch has another order.
      threads: decoding threads.

    Raises:
      UserError: while iterating, when no sample of the pool can be used.
    """
    if not len(samples):
        raise UserError("there is no sample to train on")
    ds = (
        grain.MapDataset.source(_Source(samples))
        .seed(seed)
        .shuffle()
        .repeat()
        .map(_Encode(encode, shape, samples=len(samples)))
    )
    stream = ds.to_iter_dataset(grain.ReadOptions(num_threads=threads, prefetch_buffer_size=64))
    lengths = {
        **dict.fromkeys(("tokens", "positions", "until", "image_slot"), shape.length),
        **dict.fromkeys(("loss_position", "loss_target", "loss_weight"), shape.targets),
        "pixels": shape.images,
        "sample": shape.length // 8,
    }
    packed = grain.experimental.FirstFitPackIterDataset(
        stream, length_struct=lengths, num_packing_bins=shape.rows * _BINS_PER_BATCH, seed=seed
    )
    return packed.batch(shape.rows, drop_remainder=True).map(_ToBatch(patches))


@dataclasses.dataclass(frozen=True)
class _ToBatch:
    patches: int

    def __call__(self, packed: dict[str, np.ndarray]) -> tuple[Batch, np.ndarray]:
        numbers = np.where(packed["sample_segment_ids"] > 0, packed["sample"], -1)
        return unpack_packed(packed, patches=self.patches), numbers
