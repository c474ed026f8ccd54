"""LLaVA-OneVision's image layout: which feature each image token takes, computed from the image's size alone.

The single-image rule (`anyres_max_N`, arXiv 2408.03326): the image is resized onto a grid of tiles, features of the
padding are dropped ("unpad"), the rest is downsampled if there are too many features, and a newline ends every row.

    T = (tile // patch)^2 features a tile; the base tile, the whole image resized to a square, comes first

    tokens:  base 0..T-1 | b b b b b b N | b b b b b b N | ...   b: grid feature (unpadded, downsampled); N: newline

A token refers to its feature by index into the packed features: 0 is the newline, 1 + n * T + t is feature t of tile n,
and -1 marks a text token.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

TEXT_INDEX = -1
NEWLINE_INDEX = 0


class WeightedIndex(NamedTuple):
    """A feature index in which each token is a weighted sum of four features (bilinear downsampling); numpy or jax.

    Attributes:
      indices: int32 [..., 4], the features of each token; all four are -1 for text.
      weights: float32 [..., 4]; 0 for text.
    """

    indices: Any
    weights: Any


FeatureIndex = Any
"""The feature of each token: int32 [...] (0 the newline, -1 text), or a `WeightedIndex`."""


def is_image(index: FeatureIndex) -> Any:
    """Which tokens are image tokens, bool [...]."""
    return (index.indices[..., 0] if isinstance(index, WeightedIndex) else index) >= 0


def shift(index: FeatureIndex, by: Any) -> FeatureIndex:
    """Adds `by` (an int, or int [...]) to the indices of features; those of the newline and of text stay."""
    if isinstance(index, WeightedIndex):
        return WeightedIndex(shift(index.indices, by[..., None] if getattr(by, "ndim", 0) else by), index.weights)
    return (index + by * (index > 0)).astype("int32")


def as_weighted(index: FeatureIndex) -> WeightedIndex:
    """int32 [...] as a `WeightedIndex` with weights 1, 0, 0, 0; a `WeightedIndex` is returned unchanged."""
    if isinstance(index, WeightedIndex):
        return index
    indices, weights = _single_feature(np.asarray(index))
    return WeightedIndex(indices, weights * (indices >= 0))


def slice_index(index: FeatureIndex, at: slice) -> FeatureIndex:
    """`index[at]` along the first axis."""
    return WeightedIndex(index.indices[at], index.weights[at]) if isinstance(index, WeightedIndex) else index[at]


def concat(parts: Sequence[FeatureIndex]) -> FeatureIndex:
    """Concatenates along the first axis: int32 [n], or a `WeightedIndex` if any part is one."""
    if not any(isinstance(p, WeightedIndex) for p in parts):
        return np.concatenate([np.asarray(p, np.int32) for p in parts])
    weighted = [as_weighted(p) for p in parts]
    return WeightedIndex(np.concatenate([w.indices for w in weighted]), np.concatenate([w.weights for w in weighted]))


@dataclasses.dataclass(frozen=True)
class AnyresSpec:
    """Tile sizes and grids of a model.

    Attributes:
      tile: side of a tile in pixels.
      patch: side of a patch in pixels.
      grids: allowed grids, (rows, columns); among equally good ones the first is chosen.
      max_tiles: more features than this many tiles have are downsampled bilinearly.
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
    """How the features of one image become tokens.

    Attributes:
      grid: (rows, columns) of tiles; (0, 0) for a single view.
      top, left, height, width: the part of the grid's features that is not padding.
      downsampled: (height, width) after downsampling; equal to `height`, `width` where there are few enough features.
      side: features along one side of a tile.
    """

    grid: tuple[int, int]
    top: int
    left: int
    height: int
    width: int
    downsampled: tuple[int, int]
    side: int

    @property
    def is_downsampled(self) -> bool:
        """Whether tokens are weighted sums of several features."""
        return self.downsampled != (self.height, self.width)

    @property
    def tiles(self) -> int:
        """Number of tiles to encode, including the base tile."""
        return 1 + self.grid[0] * self.grid[1]

    @property
    def tokens(self) -> int:
        """Number of image tokens, including newlines; a single view ends in one newline."""
        rows, columns = self.downsampled
        return self.side**2 + (rows * (columns + 1) if self.tiles > 1 else 1)


def fit(height: int, width: int, target_height: int, target_width: int) -> tuple[int, int]:
    """The largest (height, width) of the same aspect ratio that fits into the target, rounded up."""
    if target_width / width < target_height / height:
        return min(math.ceil(height * (target_width / width)), target_height), target_width
    return target_height, min(math.ceil(width * (target_height / height)), target_width)


def select_best_grid(height: int, width: int, spec: AnyresSpec) -> tuple[int, int]:
    """LLaVA's rule (`select_best_resolution`): the grid that keeps most pixels of the image, then wastes fewest.

    MM1.5's rule is `views.choose_grid`.
    """

    def rank(grid: tuple[int, int]) -> tuple[int, int]:
        h, w = grid[0] * spec.tile, grid[1] * spec.tile
        scale = min(w / width, h / height)
        kept = min(int(width * scale) * int(height * scale), width * height)
        return kept, kept - h * w

    return max(spec.grids, key=rank)


def anyres_layout(height: int, width: int, spec: AnyresSpec) -> TileLayout:
    """The layout of the only image of a prompt, given its original size in pixels.

    A very thin image has features of padding only: it keeps just its base tile, as in the reference implementation.
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
    downsampled = (int(rows // ratio), int(columns // ratio)) if ratio > 1.1 else (rows, columns)
    return TileLayout(grid, top, left, rows, columns, downsampled, side)


def single_layout(spec: AnyresSpec) -> TileLayout:
    """The layout of an image in a prompt with several images: the base tile and a newline."""
    return TileLayout((0, 0), 0, 0, 0, 0, (0, 0), spec.side)


def feature_index(layout: TileLayout) -> WeightedIndex:
    """The features of each token of an image.

    Returns:
      indices int32 [tokens, 4] and weights float32 [tokens, 4]: 0 is the newline, 1 + n * T + t is feature t of the
      image's tile n. Without downsampling the first weight is 1 and the others are 0.
    """
    T = layout.side**2
    base = np.arange(1, 1 + T)
    if layout.tiles == 1:
        return WeightedIndex(*_single_feature(np.append(base, NEWLINE_INDEX)))
    y, wy = _linear(layout.height, layout.downsampled[0])
    x, wx = _linear(layout.width, layout.downsampled[1])
    grid = _grid_indices(layout)
    corners = np.stack([grid[np.ix_(a, b)] for a in y for b in x], axis=-1)  # [h, w, 4]
    shares = np.stack([a[:, None] * b[None, :] for a in wy for b in wx], axis=-1)
    newline, newline_weights = _single_feature(np.full((len(corners), 1), NEWLINE_INDEX))
    base_indices, base_weights = _single_feature(base)
    indices = np.concatenate([corners, newline], axis=1).reshape(-1, 4)
    weights = np.concatenate([shares, newline_weights], axis=1).reshape(-1, 4)
    return WeightedIndex(
        np.concatenate([base_indices, indices]).astype(np.int32), np.concatenate([base_weights, weights])
    )


def video_tokens(frames: int, spec: AnyresSpec) -> int:
    """Number of image tokens of a video: per frame half the features along each side, rounded up; then one newline."""
    return frames * math.ceil(spec.side / 2) ** 2 + 1


def video_feature_index(frames: int, spec: AnyresSpec) -> WeightedIndex:
    """The index of a video as in LLaVA-OneVision: each frame is one tile, downsampled bilinearly to half its side.

    Returns:
      indices int32 [tokens, 4] and weights float32 [tokens, 4].
    """
    side = spec.side
    y, wy = _linear(side, math.ceil(side / 2))
    frame = np.arange(side**2).reshape(side, side)
    corners = np.stack([frame[np.ix_(a, b)] for a in y for b in y], axis=-1).reshape(-1, 4)
    shares = np.stack([a[:, None] * b[None, :] for a in wy for b in wy], axis=-1).reshape(-1, 4)
    first = 1 + np.arange(frames)[:, None, None] * side**2
    indices, weights = (first + corners).reshape(-1, 4), np.tile(shares, (frames, 1))
    newline, newline_weights = _single_feature(np.full(1, NEWLINE_INDEX))
    return WeightedIndex(
        np.concatenate([indices, newline]).astype(np.int32), np.concatenate([weights, newline_weights])
    )  # fmt: skip


def _single_feature(index: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Indices [...] -> indices and weights [..., 4], with all weight on the first."""
    weights = np.broadcast_to(np.array([1, 0, 0, 0], np.float32), (*index.shape, 4))
    return np.stack([index] * 4, axis=-1).astype(np.int32), weights


def _grid_indices(layout: TileLayout) -> np.ndarray:
    """Index of the feature at each place of the unpadded grid, int [height, width]."""
    side = layout.side
    y = np.arange(layout.top, layout.top + layout.height)[:, None]
    x = np.arange(layout.left, layout.left + layout.width)[None, :]
    tile = 1 + (y // side) * layout.grid[1] + x // side  # 0 is the base tile
    return 1 + tile * side**2 + (y % side) * side + x % side


def _linear(size: int, target: int) -> tuple[Sequence[np.ndarray], Sequence[np.ndarray]]:
    """Neighbours and weights of bilinear resampling from `size` to `target`, half-pixel centres as in torch."""
    scale = np.float32(size / max(target, 1))
    place = np.maximum((np.arange(target, dtype=np.float32) + np.float32(0.5)) * scale - np.float32(0.5), 0)
    low = np.minimum(place.astype(np.int64), size - 1)
    high = np.minimum(low + 1, size - 1)
    part = place - low.astype(np.float32)
    return (low, high), (1 - part, part)
