"""One encoded sequence: a sample, or a prompt tree over a sample, before packing and batching."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import numpy as np

from mmssr_jax.data.tokenizer import Tokenizer
from mmssr_jax.images.anyres import (
    NEWLINE_INDEX,
    TEXT_INDEX,
    AnyresSpec,
    FeatureIndex,
    TileLayout,
    concat,
    feature_index,
    is_image,
    shift,
    slice_index,
    video_feature_index,
    video_tokens,
)
from mmssr_jax.images.image_blocks import Pixels, count, token_positions
from mmssr_jax.images.native import BlocksRef
from mmssr_jax.images.native_video import timestamp


@dataclasses.dataclass(frozen=True)
class Example:
    """L tokens, I images of T tokens each, K loss targets.

        tokens         <im_start> user \\n <image> … <image> \\n What  is … <im_end>
        positions      0          1    2  3       …  67      68 69    70
        visible_until  L          L    L  L       …                            (causal; a prompt tree branches)
        image_slot     -1         -1   -1 1  2  3 …  64 0    -1 -1             64 features, then the image newline

    Attributes:
      tokens: int32 [L]; image positions hold the tokenizer's image id.
      positions: int32 [L], for the rotary embedding.
      visible_until: int32 [L]; token i attends to token j iff j <= i < visible_until[j].
      image_slot: int32 [L], the feature index within the example: -1 text, 0 the image newline, 1 + n * T + t feature t
        of image n. Where features are downsampled (mode "anyres") it is a `WeightedIndex`, and each tile is an image.
      pixels: uint8 [I, S, S, 3]; or `ImageBlocks`, of which each is an image of one feature. All blocks of an image
        then have the same position, see `image_blocks.sequence_positions`.
      loss_position: int32 [K], the token whose next-token distribution is trained.
      loss_target: int32 [K], the token to predict there.
      loss_weight: float32 [K].
      loss_q: float32 [K], above 0 where the target is in doubt, see `losses.weighted_loss`; None is 0 everywhere.
      cut: number of text tokens that were truncated.
    """

    tokens: np.ndarray
    positions: np.ndarray
    visible_until: np.ndarray
    image_slot: FeatureIndex
    pixels: Pixels
    loss_position: np.ndarray
    loss_target: np.ndarray
    loss_weight: np.ndarray
    loss_q: np.ndarray | None = None
    cut: int = 0

    def __len__(self) -> int:
        return len(self.tokens)

    @property
    def images(self) -> int:
        """I, the number of images, or of blocks."""
        return count(self.pixels)


@dataclasses.dataclass(frozen=True)
class Segment:
    """A run of n tokens: text, or one image.

    Attributes:
      tokens: n ids.
      slots: the `Example.image_slot` of an image's tokens, [n]; None for text.
      loss_mask: whether the tokens are loss targets: all or none of them, or one value per token.
    """

    tokens: Sequence[int]
    slots: FeatureIndex | None = None
    loss_mask: bool | Sequence[bool] = False


def image_segment(token: int, image: int, tokens_per_image: int, *, newline: bool = True) -> Segment:
    """Image number `image` of an example: one token a feature, and one for the `newline` at its end, if any."""
    first = 1 + image * tokens_per_image
    end = [NEWLINE_INDEX] if newline else []
    return Segment([token] * (tokens_per_image + len(end)), slots=[*range(first, first + tokens_per_image), *end])


def tiled_segment(token: int, first_tile: int, layout: TileLayout) -> Segment:
    """An image of mode "anyres"; its tiles are the example's images from `first_tile` on."""
    index = shift(feature_index(layout), first_tile * layout.side**2)
    return Segment([token] * layout.tokens, slots=index if layout.is_downsampled else index.indices[:, 0])


def blocks_segment(tokenizer: Tokenizer, first_block: int, ref: BlocksRef) -> Segment:
    """An image or video of mode "native" between its marks; its blocks are the example's from `first_block` on."""
    count = ref.grid[0] * ref.grid[1]
    start, end = tokenizer.vision_start, tokenizer.vision_end

    def image(number: int) -> tuple[list[int], list[int]]:
        first = 1 + first_block + number * count
        slots = [TEXT_INDEX, *range(first, first + count), TEXT_INDEX]
        return [start, *[tokenizer.image_pad] * count, end], slots

    if ref.times is None:
        return Segment(*image(0))
    tokens, slots = [start], [TEXT_INDEX]
    for number, time in enumerate(ref.times):
        text, (pair, pair_slots) = tokenizer.encode(timestamp(time)), image(number)
        tokens += [*text, *pair]
        slots += [*[TEXT_INDEX] * len(text), *pair_slots]
    return Segment([*tokens, end], [*slots, TEXT_INDEX])


def clip_segment(token: int, first: int, frames: int, tokens_per_image: int) -> Segment:
    """A video of pooled frames, which are the example's images from `first` on, of T = `tokens_per_image` features."""
    grid = AnyresSpec(tile=math.isqrt(tokens_per_image), patch=1)  # of features
    index = shift(video_feature_index(frames, grid), first * tokens_per_image)
    return Segment([token] * video_tokens(frames, grid), slots=index)


def flatten(segments: Sequence[Segment]) -> tuple[np.ndarray, FeatureIndex, np.ndarray]:
    """Concatenates segments.

    Returns:
      tokens int32 [L], image_slot int32 [L] or a `WeightedIndex`, loss_mask bool [L].
    """
    tokens: list[int] = []
    slots: list[FeatureIndex] = [np.zeros(0, np.int32)]
    loss_mask: list[bool] = []
    for segment in segments:
        tokens.extend(segment.tokens)
        slots.append(segment.slots if segment.slots is not None else [TEXT_INDEX] * len(segment.tokens))
        mask = segment.loss_mask
        loss_mask.extend([mask] * len(segment.tokens) if isinstance(mask, bool) else mask)
    return np.array(tokens, np.int32), concat(slots), np.array(loss_mask, bool)


def causal_targets(tokens: np.ndarray, loss_mask: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The loss of a causal sequence: each token that `loss_mask` selects is predicted from the token before it.

    Args:
      tokens: int32 [L].
      loss_mask: bool [L]; the first token has no predecessor and is never a target.

    Returns:
      loss_position int32 [K], loss_target int32 [K], loss_weight float32 [K].
    """
    positions = np.flatnonzero(loss_mask[1:]).astype(np.int32)
    return positions, tokens[positions + 1], np.ones(len(positions), np.float32)


def causal_example(
    segments: Sequence[Segment], pixels: Pixels, *, max_length: int, always: Sequence[int] = ()
) -> Example:
    """A causal training sequence, truncated to `max_length` tokens.

    Args:
      segments: text and images; their `loss_mask` selects the loss targets.
      pixels: uint8 [I, S, S, 3] of the images.
      max_length: the most tokens; images are never truncated.
      always: ids that are loss targets wherever they occur.

    Raises:
      ValueError: the images alone do not fit, or no segment with a loss is left.
    """
    tokens, slots, loss_mask = flatten(segments)
    cut = max(len(tokens) - max_length, 0)
    if is_image(slice_index(slots, slice(max_length, None))).any():
        raise ValueError(f"its images do not fit into {max_length} tokens")
    tokens, slots, loss_mask = tokens[:max_length], slice_index(slots, slice(max_length)), loss_mask[:max_length]
    if not loss_mask.any():
        raise ValueError(f"truncation to {max_length} tokens removes all of its answers")
    targets = causal_targets(tokens, loss_mask | np.isin(tokens, always))
    return _causal(tokens, slots, pixels, *targets, cut=cut)


def prompt_example(
    tokens: np.ndarray, slots: FeatureIndex, pixels: Pixels, *, cut: int = 0, loss_mask: np.ndarray | None = None
) -> Example:
    """A causal sequence for a model to continue.

    Args:
      tokens: int32 [L].
      slots: `Example.image_slot`, [L].
      pixels: uint8 [I, S, S, 3].
      cut: number of text tokens that were truncated.
      loss_mask: bool [L], the tokens whose probability is read too; by default there are no loss targets.
    """
    mask = np.zeros(len(tokens), bool) if loss_mask is None else loss_mask
    return _causal(tokens, slots, pixels, *causal_targets(tokens, mask), cut=cut)


def _causal(
    tokens: np.ndarray, slots: FeatureIndex, pixels: Pixels, position: np.ndarray, target: np.ndarray,
    weight: np.ndarray, *, cut: int,
) -> Example:  # fmt: skip
    n = len(tokens)
    return Example(
        tokens=tokens,
        positions=token_positions(slots, pixels),
        visible_until=np.full(n, n, np.int32),
        image_slot=slots,
        pixels=pixels,
        loss_position=position,
        loss_target=target,
        loss_weight=weight,
        cut=cut,
    )
