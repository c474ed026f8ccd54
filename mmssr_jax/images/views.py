"""How pictures become the square views that a model sees, as integers, before any pixel is read.

    single    the whole picture, squeezed into one view
    static    2 x 2 tiles and an overview                                       (MM1.5, arXiv 2409.20566)
    dynamic   the grid of n_min .. n_max tiles that covers the picture with the least padding, and an overview
    anyres    LLaVA-OneVision's tiles and token counts, which stand in `core.vision_spec`

In the first three every view is resized to the model's `resolution` and becomes its image tokens, and prompts of
`whole_from` pictures or more are not split. What the paper leaves open is decided here: of equally good grids the one
with fewer tiles, then with fewer rows; padding is split evenly, the odd pixel goes right and below; the overview is
squeezed into the square.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from fractions import Fraction
from typing import Literal

from mmssr_jax.images.anyres import AnyresSpec, TileLayout, anyres_layout, single_layout

Grid = tuple[int, int]


@dataclasses.dataclass(frozen=True)
class ViewConfig:
    """Which views a model is shown; it belongs to the model, which has learned to read just these.

    Attributes:
      mode: see the module.
      tiles: (n_min, n_max) of the dynamic mode; the paper's final ones.
      overview: where the overview stands among the tiles.
      indicator: text between views: none; "index" puts (picture, row, column) before each view, rows and columns from
        1, the overview 0; "seps" puts ":" before the overview, "," between columns, "<n>" between rows.
      whole_from: prompts of so many pictures are not split.
      newline: a learned newline follows the tokens of every view, as in LLaVA-OneVision; MM1.5 has none.

    In mode "anyres" the rules are the model's (`VLMConfig.anyres`), and all fields but `mode` stay as they are.
    """

    mode: Literal["single", "static", "dynamic", "anyres"] = "single"
    tiles: tuple[int, int] = (4, 9)
    overview: Literal["before", "after"] = "after"
    indicator: Literal["none", "index", "seps"] = "none"
    whole_from: int = 3
    newline: bool = True

    def __post_init__(self) -> None:
        if not 1 <= self.tiles[0] <= self.tiles[1]:
            raise ValueError(f"tiles must be (n_min, n_max) with 1 <= n_min <= n_max, not {self.tiles}")
        if self.whole_from < 1:
            raise ValueError(f"whole_from is {self.whole_from}; expected 1 or more")
        for field in dataclasses.fields(ViewConfig)[1:]:
            if self.mode == "anyres" and getattr(self, field.name) != field.default:
                raise ValueError(f"mode anyres has rules of its own: {field.name} cannot be set")


SINGLE = ViewConfig()


@dataclasses.dataclass(frozen=True)
class AnyresViewConfig(ViewConfig):
    """Mode "anyres" with what a model says of it.

    Attributes:
      spec: its tiles and grids.
      mean: colour around the pictures of a prompt that has several, on the scale 0 to 1.
    """

    mode: Literal["single", "static", "dynamic", "anyres"] = "anyres"
    spec: AnyresSpec = AnyresSpec()
    mean: tuple[float, float, float] = (0.5, 0.5, 0.5)

    def layouts(self, sizes: Sequence[tuple[int, int]]) -> list[TileLayout]:
        """Of a prompt's pictures, (height, width) in pixels: one alone is tiled, several are one view each."""
        if len(sizes) == 1:
            return [anyres_layout(*sizes[0], self.spec)]
        return [single_layout(self.spec)] * len(sizes)


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


def fit_size(height: int, width: int, grid: Grid, resolution: int) -> tuple[int, int]:
    """The size of the largest copy of a picture on the grid, at least 1 x 1."""
    scale = min(Fraction(grid[0] * resolution, height), Fraction(grid[1] * resolution, width))
    return max(1, round(height * scale)), max(1, round(width * scale))


def choose_grid(height: int, width: int, config: ViewConfig, resolution: int) -> Grid:
    """The covering grid with the least padding (eq. 1); if none covers, the one that keeps most pixels."""
    covering: list[tuple[int, Grid]] = []
    others: list[tuple[int, Grid]] = []
    for grid in grids(*config.tiles):
        h, w = fit_size(height, width, grid, resolution)
        if h >= height and w >= width:
            covering.append((grid[0] * grid[1] * resolution**2 - h * w, grid))
        else:
            others.append((-h * w, grid))
    return min(covering or others, key=lambda c: c[0])[1]  # the first of equals: fewest tiles, then rows


def place(height: int, width: int, config: ViewConfig, resolution: int) -> Placement:
    """A picture that is split, on its grid."""
    grid = (2, 2) if config.mode == "static" else choose_grid(height, width, config, resolution)
    h, w = fit_size(height, width, grid, resolution)
    return Placement(grid, h, w, (grid[0] * resolution - h) // 2, (grid[1] * resolution - w) // 2)


def views(sizes: Sequence[tuple[int, int]], config: ViewConfig, resolution: int) -> list[list[View | str]]:
    """For each of a prompt's pictures, (height, width) in pixels, its views in order, the indicators among them.

    Raises:
      ValueError: the mode is "anyres", see `AnyresViews.layouts`.
    """
    if config.mode == "anyres":
        raise ValueError("mode anyres has layouts, not views of equal right")
    if config.mode == "single" or len(sizes) >= config.whole_from:
        return [[View(image)] for image in range(len(sizes))]
    return [_split(image, place(*size, config, resolution).grid, config) for image, size in enumerate(sizes)]


def _split(image: int, grid: Grid, config: ViewConfig) -> list[View | str]:
    tiles = _tiles(image, grid, config)
    if grid == (1, 1):
        return tiles
    overview: list[View | str] = [View(image)]
    if config.indicator == "index":
        overview.insert(0, f"({image}, 0, 0)")
    elif config.indicator == "seps":
        overview.insert(0, ":")
    return overview + tiles if config.overview == "before" else tiles + overview


def _tiles(image: int, grid: Grid, config: ViewConfig) -> list[View | str]:
    pieces: list[View | str] = []
    for row in range(1, grid[0] + 1):
        for column in range(1, grid[1] + 1):
            if config.indicator == "index":
                pieces.append(f"({image}, {row}, {column})")
            elif config.indicator == "seps" and (row, column) != (1, 1):
                pieces.append("," if column > 1 else "<n>")
            pieces.append(View(image, row, column))
    return pieces


def token_count(sizes: Sequence[tuple[int, int]], config: ViewConfig, resolution: int, tokens: int) -> int:
    """Image tokens of a prompt, of `tokens` a view and its newline; the indicators' text is not counted."""
    if isinstance(config, AnyresViewConfig):
        return sum(layout.tokens for layout in config.layouts(sizes))
    shown = sum(isinstance(piece, View) for pieces in views(sizes, config, resolution) for piece in pieces)
    return shown * (tokens + config.newline)
