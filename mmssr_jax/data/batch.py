"""Fixed-shape batches: what a compiled step takes."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from mmssr_jax.data.example import TEXT_SLOT, Example
from mmssr_jax.images.anyres import FeatureIndex, WeightedIndex, as_weighted, shift

Array = Any  # numpy on the host, jax.Array inside a step


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Batch:
    """B rows of L tokens, N images in all (row b has the images b * N / B onward), K loss targets a row.

    | field | dtype, shape | meaning |
    | --- | --- | --- |
    | tokens | int32 [B, L] | padding is the tokenizer's pad id |
    | positions | int32 [B, L] | for the rotary embedding |
    | until | int32 [B, L] | token j is visible to token i iff j <= i < until[j] |
    | image_index | int32 [B, L] | row of the packed image features (0 newline, 1 + n T + t), -1 text; or a `Blend` |
    | pixels | uint8 [N, S, S, 3] | padding is zeros |
    | loss_position | int32 [B, K] | the token whose next-token distribution is read |
    | loss_target | int32 [B, K] | the token it should give |
    | loss_weight | float32 [B, K] | 0 for padding |
    """

    tokens: Array
    positions: Array
    visible_until: Array
    image_index: FeatureIndex
    pixels: Array
    loss_position: Array
    loss_target: Array
    loss_weight: Array


@dataclasses.dataclass(frozen=True)
class BatchShape:
    """The shapes a step is compiled for.

    Attributes:
      rows, length, targets: B, L, K.
      images: images a row has room for; N = rows * images.
      blended: image tokens may be sums of several features (mode "anyres"): `Batch.image_index` is a `Blend`.
    """

    rows: int
    length: int
    images: int
    targets: int
    blended: bool = False


def collate(
    examples: Sequence[Example], shape: BatchShape, *, tokens_per_image: int, image_size: int, pad: int
) -> Batch:
    """One example a row; rows that are left over are padding.

    Args:
      examples: at most `shape.rows`, none larger than the shape.
      shape: what to pad to.
      patches: T, feature rows of one image.
      image_size: S.
      pad: id of the padding token.
    """
    B, L, K = shape.rows, shape.length, shape.targets
    tokens = np.full((B, L), pad, np.int32)
    positions = np.zeros((B, L), np.int32)
    visible_until = np.tile(np.arange(1, L + 1, dtype=np.int32), (B, 1))
    pixels = np.zeros((B * shape.images, image_size, image_size, 3), np.uint8)
    at, target, weight = np.zeros((B, K), np.int32), np.zeros((B, K), np.int32), np.zeros((B, K), np.float32)
    for row, e in enumerate(examples):
        n, k = len(e), len(e.loss_position)
        tokens[row, :n], positions[row, :n], visible_until[row, :n] = e.tokens, e.positions, e.visible_until
        first = row * shape.images
        pixels[first : first + len(e.pixels)] = e.pixels
        at[row, :k], target[row, :k], weight[row, :k] = e.loss_position, e.loss_target, e.loss_weight
    slots = [e.image_slot for e in examples]
    index = place_images(slots, rows=B, length=L, step=shape.images * tokens_per_image, blend=shape.blended)
    return Batch(tokens, positions, visible_until, index, pixels, at, target, weight)


def place_images(
    slots: Sequence[FeatureIndex], *, rows: int, length: int, step: int, blend: bool = False
) -> FeatureIndex:
    """Image slots of samples, one a row, as feature rows of their batch.

    Args:
      slots: of each sample, see `Example`.
      rows, length: B, L.
      step: feature rows that each row has room for.
      blend: the result is a `Blend`.
    """
    if not blend:
        index = np.full((rows, length), TEXT_SLOT, np.int32)
        for row, own in enumerate(slots):
            index[row, : len(own)] = shift(own, row * step)
        return index
    found = WeightedIndex(np.full((rows, length, 4), TEXT_SLOT, np.int32), np.zeros((rows, length, 4), np.float32))
    for row, own in enumerate(slots):
        at = as_weighted(shift(own, row * step))
        found.rows[row, : len(at.rows)], found.weights[row, : len(at.rows)] = at
    return found


def unpack_packed(packed: dict[str, np.ndarray], *, tokens_per_image: int, fixed_images: bool = False) -> Batch:
    """A batch of rows that hold several examples each, as grain's first-fit packing leaves them.

    Grain concatenates a row's examples feature by feature and tells them apart by `<feature>_segment_ids` (1-based, 0
    is padding). Indices that were relative to an example become relative to its row here. Row b keeps the images
    b * N / B onward, as the model expects it; N is B times the smallest power of two (or the room there is) that holds
    the images of every row.

    Args:
      packed: arrays [B, L], [B, K] and [B, images, S, S, 3] with their segment ids; blended slots as `image_slot` and
        `image_weight` [B, L, 4].
      patches: T, feature rows of one image.
      fixed_images: N is B times the room, whatever is used (several processes must agree on it).
    """
    segment = packed["tokens_segment_ids"]
    B, L = segment.shape
    starts = _segment_starts(segment)
    row = np.arange(B)[:, None]
    visible_until = np.where(segment > 0, packed["visible_until"] + starts[row, segment], np.arange(1, L + 1))
    used, room = int((packed["pixels_segment_ids"] > 0).sum(1).max()), packed["pixels"].shape[1]
    images = room if fixed_images else min(1 << max(used - 1, 0).bit_length(), room)
    pixels = packed["pixels"][:, :images]
    first_image = _segment_starts(packed["pixels_segment_ids"], segments=int(segment.max()))
    image_rows = (first_image[row, segment] + row * images) * tokens_per_image
    loss_segment = packed["loss_position_segment_ids"]
    return Batch(
        tokens=packed["tokens"].astype(np.int32),
        positions=packed["positions"].astype(np.int32),
        visible_until=visible_until.astype(np.int32),
        image_index=_unpacked_rows(packed, image_rows),
        pixels=pixels.reshape(-1, *pixels.shape[2:]),
        loss_position=(packed["loss_position"] + starts[row, loss_segment] * (loss_segment > 0)).astype(np.int32),
        loss_target=packed["loss_target"].astype(np.int32),
        loss_weight=packed["loss_weight"].astype(np.float32),
    )


def _unpacked_rows(packed: dict[str, np.ndarray], first: np.ndarray) -> FeatureIndex:
    """`Batch.image_index`; `first` [B, L] is the feature row before the first of each token's sample."""
    slots, there = packed["image_slot"], packed["tokens_segment_ids"] > 0
    if "image_weight" not in packed:
        return np.where(there, shift(slots, first), TEXT_SLOT).astype(np.int32)
    rows = np.where(there[..., None], shift(slots, first[..., None]), TEXT_SLOT).astype(np.int32)
    return WeightedIndex(rows, packed["image_weight"].astype(np.float32))


def _segment_starts(segment_ids: np.ndarray, segments: int | None = None) -> np.ndarray:
    """[B, L] ids -> [B, segments + 1]: the index of each segment's first entry; 0 where a segment has none."""
    count = int(segment_ids.max()) if segments is None else max(segments, int(segment_ids.max()))
    hits = segment_ids[:, None, :] == np.arange(count + 1)[None, :, None]
    return np.where(hits.any(-1), hits.argmax(-1), 0)
