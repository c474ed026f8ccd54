"""Fixed-shape batches: what a compiled step takes."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from mmssr_jax.data.example import TEXT_SLOT, Example

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
    | image_index | int32 [B, L] | row of the packed image features (0 newline, 1 + n T + t), -1 text |
    | pixels | uint8 [N, S, S, 3] | padding is zeros |
    | loss_position | int32 [B, K] | the token whose next-token distribution is read |
    | loss_target | int32 [B, K] | the token it should give |
    | loss_weight | float32 [B, K] | 0 for padding |
    """

    tokens: Array
    positions: Array
    until: Array
    image_index: Array
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
    """

    rows: int
    length: int
    images: int
    targets: int


def collate(examples: Sequence[Example], shape: BatchShape, *, patches: int, image_size: int, pad: int) -> Batch:
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
    until = np.tile(np.arange(1, L + 1, dtype=np.int32), (B, 1))
    index = np.full((B, L), TEXT_SLOT, np.int32)
    pixels = np.zeros((B * shape.images, image_size, image_size, 3), np.uint8)
    at, target, weight = np.zeros((B, K), np.int32), np.zeros((B, K), np.int32), np.zeros((B, K), np.float32)
    for row, e in enumerate(examples):
        n, k = len(e), len(e.loss_position)
        tokens[row, :n], positions[row, :n], until[row, :n] = e.tokens, e.positions, e.until
        first = row * shape.images
        index[row, :n] = offset_images(e.image_slot, first * patches)
        pixels[first : first + len(e.pixels)] = e.pixels
        at[row, :k], target[row, :k], weight[row, :k] = e.loss_position, e.loss_target, e.loss_weight
    return Batch(tokens, positions, until, index, pixels, at, target, weight)


def offset_images(slots: np.ndarray, rows: np.ndarray | int) -> np.ndarray:
    """Image slots of a sample as feature rows of a batch in which its first image's features start `rows` later."""
    return np.where(slots > 0, slots + rows, slots).astype(np.int32)


def unpack_packed(packed: dict[str, np.ndarray], *, patches: int, fixed_images: bool = False) -> Batch:
    """A batch of rows that hold several examples each, as grain's first-fit packing leaves them.

    Grain concatenates a row's examples feature by feature and tells them apart by `<feature>_segment_ids` (1-based, 0
    is padding). Indices that were relative to an example become relative to its row here. Row b keeps the images
    b * N / B onward, as the model expects it; N is B times the smallest power of two (or the room there is) that holds
    the images of every row.

    Args:
      packed: arrays [B, L], [B, K] and [B, images, S, S, 3] with their segment ids.
      patches: T, feature rows of one image.
      fixed_images: N is B times the room, whatever is used (several processes must agree on it).
    """
    segment = packed["tokens_segment_ids"]
    B, L = segment.shape
    starts = _segment_starts(segment)
    row = np.arange(B)[:, None]
    until = np.where(segment > 0, packed["until"] + starts[row, segment], np.arange(1, L + 1))
    used, room = int((packed["pixels_segment_ids"] > 0).sum(1).max()), packed["pixels"].shape[1]
    images = room if fixed_images else min(1 << max(used - 1, 0).bit_length(), room)
    pixels = packed["pixels"][:, :images]
    first_image = _segment_starts(packed["pixels_segment_ids"], segments=int(segment.max()))
    image_rows = (first_image[row, segment] + row * images) * patches
    loss_segment = packed["loss_position_segment_ids"]
    return Batch(
        tokens=packed["tokens"].astype(np.int32),
        positions=packed["positions"].astype(np.int32),
        until=until.astype(np.int32),
        image_index=np.where(segment > 0, offset_images(packed["image_slot"], image_rows), TEXT_SLOT).astype(np.int32),
        pixels=pixels.reshape(-1, *pixels.shape[2:]),
        loss_position=(packed["loss_position"] + starts[row, loss_segment] * (loss_segment > 0)).astype(np.int32),
        loss_target=packed["loss_target"].astype(np.int32),
        loss_weight=packed["loss_weight"].astype(np.float32),
    )


def _segment_starts(segment_ids: np.ndarray, segments: int | None = None) -> np.ndarray:
    """[B, L] ids -> [B, segments + 1]: the index of each segment's first entry; 0 where a segment has none."""
    count = int(segment_ids.max()) if segments is None else max(segments, int(segment_ids.max()))
    hits = segment_ids[:, None, :] == np.arange(count + 1)[None, :, None]
    return np.where(hits.any(-1), hits.argmax(-1), 0)
