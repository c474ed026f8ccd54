"""One encoded sequence: what a sample, or a prompt tree over a sample, becomes before packing and batching."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from mmssr_jax.images.anyres import NEWLINE_ROW, TEXT_ROW, FeatureIndex, TileLayout, concat, feature_index, shift

TEXT_SLOT = TEXT_ROW
NEWLINE_SLOT = NEWLINE_ROW


@dataclasses.dataclass(frozen=True)
class Example:
    """L tokens, I images of T tokens each, N loss targets.

        tokens         <im_start> user \\n <image> … <image> \\n What  is … <im_end>
        positions      0          1    2  3       …  67      68 69    70
        until          L          L    L  L       …                            (causal; a prompt tree branches)
        image_slot     -1         -1   -1 1  2  3 …  64 0    -1 -1             64 patches, then the image newline

    Attributes:
      tokens: int32 [L]; image positions hold the tokenizer's image id.
      positions: int32 [L], for the rotary embedding.
      until: int32 [L]; token j is visible to token i iff j <= i < until[j].
      image_slot: int32 [L]; -1 text, 0 the image newline, 1 + k * T + t patch t of the sample's image k. Or, where a
        picture's features are shrunk (mode "anyres"), a `Blend` of such slots; an image is then a tile.
      pixels: uint8 [I, S, S, 3].
      loss_position: int32 [N], the token whose next-token distribution is trained.
      loss_target: int32 [N], the token it should give.
      loss_weight: float32 [N].
      cut: how many text tokens were cut off to fit.
    """

    tokens: np.ndarray
    positions: np.ndarray
    visible_until: np.ndarray
    image_slot: FeatureIndex
    pixels: np.ndarray
    loss_position: np.ndarray
    loss_target: np.ndarray
    loss_weight: np.ndarray
    cut: int = 0

    def __len__(self) -> int:
        return len(self.tokens)


@dataclasses.dataclass(frozen=True)
class Segment:
    """A run of tokens: text (`slots` is None), or one image with the feature (or blend) each token takes."""

    tokens: Sequence[int]
    slots: FeatureIndex | None = None
    loss_mask: bool = False


def image_segment(token: int, image: int, tokens_per_image: int, *, newline: bool = True) -> Segment:
    """Image number `image` of a sample: one token a patch, and one for the `newline` that ends it, if any."""
    first = 1 + image * tokens_per_image
    end = [NEWLINE_SLOT] if newline else []
    return Segment([token] * (tokens_per_image + len(end)), slots=[*range(first, first + tokens_per_image), *end])


def tiled_segment(token: int, first_tile: int, layout: TileLayout) -> Segment:
    """A picture of mode "anyres", whose tiles are the sample's images from `first_tile` on."""
    found = shift(feature_index(layout), first_tile * layout.side**2)
    return Segment([token] * layout.tokens, slots=found if layout.shrinks else found.rows[:, 0])


def flatten(pieces: Sequence[Segment]) -> tuple[np.ndarray, FeatureIndex, np.ndarray]:
    """Concatenates pieces: tokens int32 [L], image_slot int32 [L] or a `Blend`, trained bool [L]."""
    tokens: list[int] = []
    slots: list[FeatureIndex] = [np.zeros(0, np.int32)]
    loss_mask: list[bool] = []
    for piece in pieces:
        tokens.extend(piece.tokens)
        slots.append(piece.slots if piece.slots is not None else [TEXT_SLOT] * len(piece.tokens))
        loss_mask.extend([piece.loss_mask] * len(piece.tokens))
    return np.array(tokens, np.int32), concat(slots), np.array(loss_mask, bool)


def causal_targets(tokens: np.ndarray, loss_mask: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Loss targets of an ordinary causal sequence: every trained token, predicted from the one before it."""
    positions = np.flatnonzero(loss_mask[1:]).astype(np.int32)
    return positions, tokens[positions + 1], np.ones(len(positions), np.float32)
