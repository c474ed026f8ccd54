"""How MM1.5 cuts a picture into views (arXiv 2409.20566), as integers, before any pixel is read.

    static    2 x 2 tiles and an overview
    dynamic   the grid of n_min .. n_max tiles that covers the picture with the least padding, and an overview

Every view is resized to `resolution` and becomes `tokens` image tokens. Prompts of `whole_from` pictures or more are
not split. What the paper leaves open is decided here: of equally good grids the one with fewer tiles, then with fewer
rows; padding is split evenly, the odd pixel goes right and below; the overview is squeezed into the square.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from fractions import Fraction
from typing import Literal

Grid = tuple[int, int]


@dataclasses.dataclass(frozen=True)
class SplitSpec:
    """Settings of the splitting; the defaults are the paper's final ones.

    Attributes:
      mode: "none" takes one view a picture.
      resolution: side of a view in pixels.
      tokens: image tokens of a view.
      tiles: (n_min, n_max) of the dynamic mode.
      overview: where the overview stands among the tiles.
      indicator: text between views: none; "index" puts (picture, row, column) before each view, rows and columns from
        1, the overview 0; "seps" puts ":" before the overview, "," between columns, "<n>" between rows.
      whole_from: prompts of so many pictures are not split.
    """

    mode: Literal["none", "static", "dynamic"] = "dynamic"
    resolution: int = 672
    tokens: int = 144
    tiles: tuple[int, int] = (4, 9)
    overview: Literal["before", "after"] = "after"
    indicator: Literal["none", "index", "seps"] = "none"
    whole_from: int = 3

    def __post_init__(self) -> None:
        if not 1 <= self.tiles[0] <= self.tiles[1]:
            raise ValueError(f"tiles must be (n_min, n_max) with 1 <= n_min <= n_max, not {self.tiles}")


@dataclasses.dataclass(frozen=True)
class View:
    """One square that the tower sees: a tile (row and column from 1), or the whole picture (0, 0)."""

    image: int
    row: int = 0
    column: int = 0


@dataclasses.dataclass(frozen=True)
class Placement:
    """A picture on its grid, in pixels of the grid: scaled to `height` x `width`, its corner at (`top`, `left`)."""

    grid: Grid
    height: int
    width: int
    top: int
    left: int


def grids(n_min: int, n_max: int) -> list[Grid]:
    """All grids of so many tiles, by tiles, then rows."""
    found = [(r, n // r) for n in range(n_min, n_max + 1) for r in range(1, n + 1) if n % r == 0]
    return sorted(found, key=lambda g: (g[0] * g[1], g[0]))


def fitted(height: int, width: int, grid: Grid, resolution: int) -> tuple[int, int]:
    """The size of the largest copy of a picture on the grid, at least 1 x 1."""
    scale = min(Fraction(grid[0] * resolution, height), Fraction(grid[1] * resolution, width))
    return max(1, round(height * scale)), max(1, round(width * scale))


def choose_grid(height: int, width: int, spec: SplitSpec) -> Grid:
    """The covering grid with the least padding (eq. 1); if none covers, the one that keeps most pixels."""
    covering: list[tuple[int, Grid]] = []
    others: list[tuple[int, Grid]] = []
    for grid in grids(*spec.tiles):
        h, w = fitted(height, width, grid, spec.resolution)
        if h >= height and w >= width:
            covering.append((grid[0] * grid[1] * spec.resolution**2 - h * w, grid))
        else:
            others.append((-h * w, grid))
    return min(covering or others, key=lambda c: c[0])[1]  # the first of equals: fewest tiles, then rows


def place(height: int, width: int, spec: SplitSpec) -> Placement:
    """A picture that is split, on its grid."""
    grid = (2, 2) if spec.mode == "static" else choose_grid(height, width, spec)
    h, w = fitted(height, width, grid, spec.resolution)
    return Placement(grid, h, w, (grid[0] * spec.resolution - h) // 2, (grid[1] * spec.resolution - w) // 2)


def views(sizes: Sequence[tuple[int, int]], spec: SplitSpec) -> list[View | str]:
    """The views of a prompt's pictures, (height, width) each, in order, with the indicators between them."""
    if spec.mode == "none" or len(sizes) >= spec.whole_from:
        return [View(image) for image in range(len(sizes))]
    pieces: list[View | str] = []
    for image, (height, width) in enumerate(sizes):
        grid = place(height, width, spec).grid
        tiles = _tiles(image, grid, spec)
        overview: list[View | str] = [View(image)]
        if spec.indicator == "index":
            overview.insert(0, f"({image}, 0, 0)")
        elif spec.indicator == "seps":
            overview.insert(0, ":")
        if grid == (1, 1):
            pieces += tiles
        else:
            pieces += overview + tiles if spec.overview == "before" else tiles + overview
    return pieces


def _tiles(image: int, grid: Grid, spec: SplitSpec) -> list[View | str]:
    pieces: list[View | str] = []
    for row in range(1, grid[0] + 1):
        for column in range(1, grid[1] + 1):
            if spec.indicator == "index":
                pieces.append(f"({image}, {row}, {column})")
            elif spec.indicator == "seps" and (row, column) != (1, 1):
                pieces.append("," if column > 1 else "<n>")
            pieces.append(View(image, row, column))
    return pieces


def token_count(sizes: Sequence[tuple[int, int]], spec: SplitSpec) -> int:
    """Image tokens of a prompt; the indicators' text is not counted."""
    return spec.tokens * sum(isinstance(v, View) for v in views(sizes, spec))
