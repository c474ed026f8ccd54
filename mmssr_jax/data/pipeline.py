"""The grain graph of training: shuffled samples, encoded, packed into rows, batched; its state is checkpointed."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import grain
import numpy as np
from absl import logging

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


@dataclasses.dataclass(frozen=True)
class _Encode:
    """Runs the encoder on one sample; a sample that does not fit is logged by id and left out."""

    encode: Callable[[Sample], Example]
    shape: BatchShape

    def __call__(self, item: tuple[int, Sample]) -> dict[str, np.ndarray] | None:
        number, sample = item
        try:
            example = self.encode(sample)
            if len(example) > self.shape.length:
                raise ValueError(f"it has {len(example)} tokens, a row has room for {self.shape.length}")
            if len(example.loss_position) > self.shape.targets:
                raise ValueError(f"it has {len(example.loss_position)} targets, a row takes {self.shape.targets}")
            if len(example.pixels) > self.shape.images:
                raise ValueError(f"it has {len(example.pixels)} images, a row has room for {self.shape.images}")
        except (OSError, ValueError) as e:
            logging.warning("sample %s is not trained on: %s", sample.id, e)
            return None
        features = {name: getattr(example, name) for name in _FEATURES}
        return {**features, "sample": np.array([number], np.int32)}


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
    """
    ds = grain.MapDataset.source(_Source(samples)).seed(seed).shuffle().repeat().map(_Encode(encode, shape))
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
