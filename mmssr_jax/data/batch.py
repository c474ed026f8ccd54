"""Fixed-shape batches, the input of a compiled step."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from mmssr_jax.data.example import Example
from mmssr_jax.images.anyres import TEXT_INDEX, FeatureIndex, WeightedIndex, as_weighted, shift
from mmssr_jax.images.image_blocks import IMAGE, ImageBlocks, Pixels, block_room, put, zeros_like

_IMAGES_OF_AN_EXAMPLE = 1 << 16

Array = Any  # numpy on the host, jax.Array inside a step


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Batch:
    """B rows of L tokens and K loss targets, N images in total; row b has the images from b * N / B on.

    | field | dtype, shape | meaning |
    | --- | --- | --- |
    | tokens | int32 [B, L] | padded with the tokenizer's pad id |
    | positions | int32 [B, L] | for the rotary embedding |
    | visible_until | int32 [B, L] | token i attends to token j iff j <= i < visible_until[j] |
    | image_index | int32 [B, L] | feature index: 0 newline, 1 + n T + t, -1 text; or a `WeightedIndex` [B, L, 4] |
    | pixels | uint8 [N, S, S, 3] | padded with zeros; or `ImageBlocks` of N blocks |
    | loss_position | int32 [B, K] | the token whose next-token distribution is read |
    | loss_target | int32 [B, K] | the token to predict there |
    | loss_weight | float32 [B, K] | 0 for padding |
    | loss_q | float32 [B, K] | 0 for the cross entropy, see `losses.weighted_loss`; None is 0 everywhere |
    """

    tokens: Array
    positions: Array
    visible_until: Array
    image_index: FeatureIndex
    pixels: Pixels
    loss_position: Array
    loss_target: Array
    loss_weight: Array
    loss_q: Array | None = None


@dataclasses.dataclass(frozen=True)
class BatchShape:
    """The shapes that a step is compiled for.

    Attributes:
      rows, length, targets: B, L, K.
      images: the most images (or blocks) of a row; N = rows * images.
      weighted: `Batch.image_index` is a `WeightedIndex` (mode "anyres").
    """

    rows: int
    length: int
    images: int
    targets: int
    weighted: bool = False


def collate(
    examples: Sequence[Example], shape: BatchShape, *, tokens_per_image: int, no_pixels: Pixels, pad: int
) -> Batch:
    """A batch with one example per row; remaining rows are padding.

    Args:
      examples: at most `shape.rows`, none larger than the shape.
      shape: the shape to pad to.
      tokens_per_image: T, features of one image.
      no_pixels: the pixels of no image, [0, ...].
      pad: id of the padding token.
    """
    B, L, K = shape.rows, shape.length, shape.targets
    tokens = np.full((B, L), pad, np.int32)
    positions = np.zeros((B, L), np.int32)
    visible_until = np.tile(np.arange(1, L + 1, dtype=np.int32), (B, 1))
    pixels = zeros_like(no_pixels, B * shape.images)
    position, target = np.zeros((B, K), np.int32), np.zeros((B, K), np.int32)
    weight = np.zeros((B, K), np.float32)
    for row, e in enumerate(examples):
        n, k = len(e), len(e.loss_position)
        tokens[row, :n], positions[row, :n], visible_until[row, :n] = e.tokens, e.positions, e.visible_until
        put(pixels, row * shape.images, e.pixels)
        position[row, :k], target[row, :k], weight[row, :k] = e.loss_position, e.loss_target, e.loss_weight
    slots = [e.image_slot for e in examples]
    index = batch_index(slots, rows=B, length=L, step=shape.images * tokens_per_image, weighted=shape.weighted)
    return Batch(tokens, positions, visible_until, index, pixels, position, target, weight)


def batch_index(
    slots: Sequence[FeatureIndex], *, rows: int, length: int, step: int, weighted: bool = False
) -> FeatureIndex:
    """The feature index of a batch with one example per row: int32 [B, L], or a `WeightedIndex` [B, L, 4].

    Args:
      slots: `Example.image_slot` of each example.
      rows, length: B, L.
      step: features of a row, N / B * T.
      weighted: return a `WeightedIndex`.
    """
    if not weighted:
        index = np.full((rows, length), TEXT_INDEX, np.int32)
        for row, slot in enumerate(slots):
            index[row, : len(slot)] = shift(slot, row * step)
        return index
    padded = WeightedIndex(np.full((rows, length, 4), TEXT_INDEX, np.int32), np.zeros((rows, length, 4), np.float32))
    for row, slot in enumerate(slots):
        indices, weights = as_weighted(shift(slot, row * step))
        padded.indices[row, : len(indices)], padded.weights[row, : len(indices)] = indices, weights
    return padded


def unpack_packed(packed: dict[str, np.ndarray], *, tokens_per_image: int, fixed_images: bool = False) -> Batch:
    """A batch of rows with several examples each, from the output of grain's first-fit packing.

    Grain concatenates the examples of a row feature by feature and numbers them in `<feature>_segment_ids` (from 1; 0
    is padding). Here indices relative to an example become relative to its row. Row b has the images from b * N / B on,
    as the model expects; N / B is the smallest power of two (at most `images`) that holds the images of every row.

    Args:
      packed: arrays [B, L], [B, K] and [B, images, S, S, 3] with their segment ids; a weighted index is `image_slot`
        and `image_weight` [B, L, 4].
      tokens_per_image: T, features of one image.
      fixed_images: N / B is `images` in every batch, so that all processes have the same shapes.
    """
    # Segments of different features agree: segment k of "pixels" are the images of segment k of "tokens".
    segment = packed["tokens_segment_ids"]
    B, L = segment.shape
    starts = _segment_starts(segment)
    row = np.arange(B)[:, None]
    visible_until = np.where(segment > 0, packed["visible_until"] + starts[row, segment], np.arange(1, L + 1))
    used, capacity = int((packed["pixels_segment_ids"] > 0).sum(1).max()), packed["pixels"].shape[1]
    images = capacity if fixed_images else min(_room(used, blocks="place" in packed), capacity)
    pixels = packed["pixels"][:, :images].reshape(-1, *packed["pixels"].shape[2:])
    first_image = _segment_starts(packed["pixels_segment_ids"], segments=int(segment.max()))
    offset = (first_image[row, segment] + row * images) * tokens_per_image
    loss_segment = packed["loss_position_segment_ids"]
    return Batch(
        tokens=packed["tokens"].astype(np.int32),
        positions=packed["positions"].astype(np.int32),
        visible_until=visible_until.astype(np.int32),
        image_index=_unpacked_index(packed, offset),
        pixels=ImageBlocks(pixels, _unpacked_places(packed, images)) if "place" in packed else pixels,
        loss_position=(packed["loss_position"] + starts[row, loss_segment] * (loss_segment > 0)).astype(np.int32),
        loss_target=packed["loss_target"].astype(np.int32),
        loss_weight=packed["loss_weight"].astype(np.float32),
        loss_q=packed["loss_q"].astype(np.float32),
    )


def _room(used: int, *, blocks: bool) -> int:
    """The image capacity of a row: the next power of two, or for blocks a finer step."""
    return block_room(used) if blocks else 1 << max(used - 1, 0).bit_length()


def _unpacked_places(packed: dict[str, np.ndarray], images: int) -> np.ndarray:
    """`ImageBlocks.place`, int32 [N, 5], in which images of one row have different numbers."""
    place, segment = packed["place"][:, :images].astype(np.int32), packed["place_segment_ids"][:, :images]
    place[..., IMAGE] += np.where(segment > 0, (segment - 1) * _IMAGES_OF_AN_EXAMPLE, 0)
    return place.reshape(-1, place.shape[-1])


def _unpacked_index(packed: dict[str, np.ndarray], offset: np.ndarray) -> FeatureIndex:
    """`Batch.image_index`; `offset` [B, L] is the number of features before those of each token's example."""
    slots, used = packed["image_slot"], packed["tokens_segment_ids"] > 0
    if "image_weight" not in packed:
        return np.where(used, shift(slots, offset), TEXT_INDEX).astype(np.int32)
    indices = np.where(used[..., None], shift(slots, offset[..., None]), TEXT_INDEX).astype(np.int32)
    return WeightedIndex(indices, packed["image_weight"].astype(np.float32))


def _segment_starts(segment_ids: np.ndarray, segments: int | None = None) -> np.ndarray:
    """Ids [B, L] -> [B, segments + 1], the index of each segment's first entry; 0 for an empty segment."""
    last = int(segment_ids.max(initial=0))
    count = last if segments is None else max(segments, last)
    if not segment_ids.size:  # rows without room for an image
        return np.zeros((len(segment_ids), count + 1), int)
    hits = segment_ids[:, None, :] == np.arange(count + 1)[None, :, None]
    return np.where(hits.any(-1), hits.argmax(-1), 0)
