"""Which image tokens a picture of a given size becomes, as integers, before any pixel is read.

LLaVA-OneVision's single-image rule (`anyres_max_N`, arXiv 2408.03326): the picture is laid on a grid of tiles, its
features lose the padding ("unpad"), are shrunk if there are too many of them, and every row ends in a newline.

    T = (tile // patch)^2 features a tile; the base tile comes first, the whole picture squeezed into a square

    rows:  base 0..T-1 | b b b b b b N | b b b b b b N | ...     b: grid features, unpadded, maybe shrunk; N: newline
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

TEXT_ROW = -1
NEWLINE_ROW = 0


class WeightedIndex(NamedTuple):
    """Tokens as weighted sums of feature rows, numpy or jax: what stands for plain row numbers where these do not do.

    Attributes:
      rows: int32 [..., 4], of each token; -1 four times for text.
      weights: float32 [..., 4]; 0 for text.
    """

    rows: Any
    weights: Any


FeatureIndex = Any
"""Of each token the row of its feature: int32 [...] (0 the newline, -1 text), or a `Blend` of such rows."""


def is_image(rows: FeatureIndex) -> Any:
    """Which tokens are image tokens, bool [...]."""
    return (rows.rows[..., 0] if isinstance(rows, WeightedIndex) else rows) >= 0


def shift(rows: FeatureIndex, by: Any) -> FeatureIndex:
    """The same features where they stand `by` (int, or an array [...]) rows later; newline and text stay."""
    if isinstance(rows, WeightedIndex):
        return WeightedIndex(shift(rows.rows, by[..., None] if getattr(by, "ndim", 0) else by), rows.weights)
    return (rows + by * (rows > 0)).astype("int32")


def as_weighted(rows: FeatureIndex) -> WeightedIndex:
    """Plain rows as a blend; a blend as it is."""
    if isinstance(rows, WeightedIndex):
        return rows
    found, weights = _one_each(np.asarray(rows))
    return WeightedIndex(found, weights * (found >= 0))


def slice_index(rows: FeatureIndex, at: slice) -> FeatureIndex:
    """Some of the tokens."""
    return WeightedIndex(rows.rows[at], rows.weights[at]) if isinstance(rows, WeightedIndex) else rows[at]


def concat(parts: Sequence[FeatureIndex]) -> FeatureIndex:
    """One after the other: int32 [n], or a blend as soon as one of them is."""
    if not any(isinstance(p, WeightedIndex) for p in parts):
        return np.concatenate([np.asarray(p, np.int32) for p in parts])
    blends = [as_weighted(p) for p in parts]
    return WeightedIndex(np.concatenate([b.rows for b in blends]), np.concatenate([b.weights for b in blends]))


@dataclasses.dataclass(frozen=True)
class AnyresSpec:
    """Tiles and tokens of a model.

    Attributes:
      tile: side of a tile in pixels.
      patch: side of a patch in pixels.
      grids: the grids a picture may be laid on, (rows, columns); of equally good ones the first is taken.
      max_tiles: features beyond those of this many tiles are shrunk bilinearly.
    """

    tile: int = 384
    patch: int = 14
    grids: tuple[tuple[int, int], ...] = tuple((r, c) for r in range(1, 7) for c in range(1, 7))
    max_tiles: int = 9

    @property
    def side(self) -> int:
        """Features along one side of a tile."""
        return self.tile // self.patch


@dataclasses.dataclass(frozen=True)
class TileLayout:
    """How one picture's features become tokens.

    Attributes:
      grid: (rows, columns) of tiles; (0, 0) for a single view.
      top, left, height, width: what of the grid's features is the picture and not padding.
      shrunk: the size (height, width) those features are brought to; equal to theirs where there are few enough.
      side: features along one side of a tile.
    """

    grid: tuple[int, int]
    top: int
    left: int
    height: int
    width: int
    shrunk: tuple[int, int]
    side: int

    @property
    def shrinks(self) -> bool:
        """Whether tokens are sums of several features."""
        return self.shrunk != (self.height, self.width)

    @property
    def tiles(self) -> int:
        """Tiles to encode, the base tile included."""
        return 1 + self.grid[0] * self.grid[1]

    @property
    def tokens(self) -> int:
        """Image tokens, newlines included; a single view ends in one newline."""
        rows, columns = self.shrunk
        return self.side**2 + (rows * (columns + 1) if self.tiles > 1 else 1)


def fit(height: int, width: int, target_height: int, target_width: int) -> tuple[int, int]:
    """The largest (height, width), rounded up, that keeps the aspect ratio inside the target."""
    if target_width / width < target_height / height:
        return min(math.ceil(height * (target_width / width)), target_height), target_width
    return target_height, min(math.ceil(width * (target_height / height)), target_width)


def select_best_grid(height: int, width: int, spec: AnyresSpec) -> tuple[int, int]:
    """The grid on which the picture keeps most of its pixels; of equals, the one with the least waste."""

    def merit(grid: tuple[int, int]) -> tuple[int, int]:
        h, w = grid[0] * spec.tile, grid[1] * spec.tile
        scale = min(w / width, h / height)
        kept = min(int(width * scale) * int(height * scale), width * height)
        return kept, kept - h * w

    return max(spec.grids, key=merit)


def anyres_layout(height: int, width: int, spec: AnyresSpec) -> TileLayout:
    """The layout of a picture that is the only one of its prompt. Sizes are pixels of the original.

    Of a very thin picture nothing is left but padding: it keeps its base tile only, as in the reference.
    """
    side = spec.side
    grid = select_best_grid(height, width, spec)
    rows, columns = grid[0] * side, grid[1] * side
    top = left = 0
    if width / height > columns / rows:
        top = (rows - int(round(height * (columns / width), 7))) // 2
        rows -= 2 * top
    else:
        left = (columns - int(round(width * (rows / height), 7))) // 2
        columns -= 2 * left
    ratio = math.sqrt(rows * columns / (spec.max_tiles * side**2))
    shrunk = (int(rows // ratio), int(columns // ratio)) if ratio > 1.1 else (rows, columns)
    return TileLayout(grid, top, left, rows, columns, shrunk, side)


def single_layout(spec: AnyresSpec) -> TileLayout:
    """The layout of one view a picture: the base tile and a newline, as in prompts with several pictures."""
    return TileLayout((0, 0), 0, 0, 0, 0, (0, 0), spec.side)


def feature_index(layout: TileLayout) -> WeightedIndex:
    """Each of a picture's tokens as a weighted sum of feature rows.

    Returns:
      of all tokens [tokens, 4]. Row 0 is the newline, row 1 + k * T + t feature t of tile k of this picture. Where
      nothing is shrunk the first weight is 1 and the others 0.
    """
    T = layout.side**2
    base = np.arange(1, 1 + T)
    if layout.tiles == 1:
        return WeightedIndex(*_one_each(np.append(base, NEWLINE_ROW)))
    y, wy = _linear(layout.height, layout.shrunk[0])
    x, wx = _linear(layout.width, layout.shrunk[1])
    grid = _grid_rows(layout)
    corners = np.stack([grid[np.ix_(a, b)] for a in y for b in x], axis=-1)  # [h, w, 4]
    shares = np.stack([a[:, None] * b[None, :] for a in wy for b in wx], axis=-1)
    newline_rows, newline_weights = _one_each(np.full((len(corners), 1), NEWLINE_ROW))
    base_rows, base_weights = _one_each(base)
    rows = np.concatenate([corners, newline_rows], axis=1).reshape(-1, 4)
    weights = np.concatenate([shares, newline_weights], axis=1).reshape(-1, 4)
    return WeightedIndex(np.concatenate([base_rows, rows]).astype(np.int32), np.concatenate([base_weights, weights]))


def video_tokens(frames: int, spec: AnyresSpec) -> int:
    """Image tokens of a video: half the features along each side of a frame, rounded up, and one newline at the end."""
    return frames * math.ceil(spec.side / 2) ** 2 + 1


def video_feature_index(frames: int, spec: AnyresSpec) -> WeightedIndex:
    """`feature_rows` of a video as LLaVA-OneVision reads it: every frame one tile, its features halved bilinearly."""
    side = spec.side
    y, wy = _linear(side, math.ceil(side / 2))
    frame = np.arange(side**2).reshape(side, side)
    corners = np.stack([frame[np.ix_(a, b)] for a in y for b in y], axis=-1).reshape(-1, 4)
    shares = np.stack([a[:, None] * b[None, :] for a in wy for b in wy], axis=-1).reshape(-1, 4)
    first = 1 + np.arange(frames)[:, None, None] * side**2
    rows, weights = (first + corners).reshape(-1, 4), np.tile(shares, (frames, 1))
    newline_rows, newline_weights = _one_each(np.full(1, NEWLINE_ROW))
    return WeightedIndex(
        np.concatenate([rows, newline_rows]).astype(np.int32), np.concatenate([weights, newline_weights])
    )  # fmt: skip


def _one_each(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rows [...] as they are: [..., 4] with all weight on the first."""
    weights = np.broadcast_to(np.array([1, 0, 0, 0], np.float32), (*rows.shape, 4))
    return np.stack([rows] * 4, axis=-1).astype(np.int32), weights


def _grid_rows(layout: TileLayout) -> np.ndarray:
    """Row of the feature at each place of the unpadded grid, int [height, width]."""
    side = layout.side
    y = np.arange(layout.top, layout.top + layout.height)[:, None]
    x = np.arange(layout.left, layout.left + layout.width)[None, :]
    tile = 1 + (y // side) * layout.grid[1] + x // side  # 0 is the base tile
    return 1 + tile * side**2 + (y % side) * side + x % side


def _linear(size: int, target: int) -> tuple[Sequence[np.ndarray], Sequence[np.ndarray]]:
    """Both neighbours and weights of `target` samples among `size`, half-pixel centres, as torch's bilinear mode."""
    scale = np.float32(size / max(target, 1))
    place = np.maximum((np.arange(target, dtype=np.float32) + np.float32(0.5)) * scale - np.float32(0.5), 0)
    low = np.minimum(place.astype(np.int64), size - 1)
    high = np.minimum(low + 1, size - 1)
    part = place - low.astype(np.float32)
    return (low, high), (1 - part, part)
