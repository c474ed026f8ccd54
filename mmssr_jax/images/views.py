"""Which square views a model receives of an image, computed from the image's size alone.

    single    the whole image, resized to one view
    static    2 x 2 tiles and an overview                                       (MM1.5, arXiv 2409.20566)
    dynamic   the grid of n_min .. n_max tiles that covers the image with the least padding, and an overview
    anyres    LLaVA-OneVision's tiles and token counts, see `images.anyres`
    native    the whole image at its native aspect ratio, as blocks of patches, see `images.native`  (Qwen3-VL)

In the first three modes each view has the model's `resolution` and becomes the same number of tokens, and prompts of
`whole_from` or more images are not split. Where the paper is silent: among equally good grids the one with fewer
tiles, then fewer rows is chosen; padding is split evenly, an odd pixel goes to the right or bottom; the overview is
resized to the square without keeping the aspect ratio.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from fractions import Fraction
from typing import Literal

from mmssr_jax.images.anyres import AnyresSpec, TileLayout, anyres_layout, single_layout

Grid = tuple[int, int]
Fit = Literal["stretch", "pad", "crop"]


@dataclasses.dataclass(frozen=True)
class ViewConfig:
    """Which views a model receives. It is part of the model, which was trained on exactly these.

    Attributes:
      mode: "single" (the whole image, one view), "static" (2 x 2 tiles and an overview), "dynamic" (MM1.5's grid of
        least padding, and an overview), "anyres" (LLaVA-OneVision's tiles) or "native" (Qwen3-VL: the whole image at
        its own aspect ratio).
      tiles: (n_min, n_max) of the dynamic mode; the paper's final values by default.
      overview: whether the overview comes before or after the tiles.
      indicator: text between views: none; "index" puts (image, row, column) before each view, rows and columns counted
        from 1, 0 for the overview; "seps" puts ":" before the overview, "," between columns, "<n>" between rows.
      whole_from: prompts with at least this many images are not split.
      newline: a learned newline follows the tokens of every view, as in LLaVA-OneVision; MM1.5 has none.
      fit: how a whole image becomes a square: "stretch" (SigLIP), "pad" (centred on a square of `pad_colour`; how
        LLaVA-1.5 was trained) or "crop" (the middle of the longer side; Hugging Face's processor of LLaVA-1.5).
      pad_colour: 8-bit red, green and blue; CLIP's mean colour by default.
      frames: what the frames of a video become: images, or "pooled" as LLaVA-OneVision was trained: a quarter of an
        image's tokens for each frame, and one newline after the last; in modes "single" and "anyres".
      pixels, video_pixels: the fewest and most pixels of an image, and of all frames of a video, in mode "native"; by
        default those of Qwen3-VL.

    In mode "anyres" the model's `VLMConfig.anyres` holds the rules, and all fields but `mode` and `frames` keep their
    defaults.

    Raises:
      ValueError: a field has a value that the mode does not allow.
    """

    mode: Literal["single", "static", "dynamic", "anyres", "native"] = "single"
    tiles: tuple[int, int] = (4, 9)
    overview: Literal["before", "after"] = "after"
    indicator: Literal["none", "index", "seps"] = "none"
    whole_from: int = 3
    newline: bool = True
    fit: Fit = "stretch"
    pad_colour: tuple[int, int, int] = (122, 116, 104)
    frames: Literal["images", "pooled"] = "images"
    pixels: tuple[int, int] = (65_536, 16_777_216)
    video_pixels: tuple[int, int] = (4096, 25_165_824)

    def __post_init__(self) -> None:
        if not 1 <= self.tiles[0] <= self.tiles[1]:
            raise ValueError(f"tiles must be (n_min, n_max) with 1 <= n_min <= n_max, not {self.tiles}")
        for name, (least, most) in (("pixels", self.pixels), ("video_pixels", self.video_pixels)):
            if not 1 <= least <= most:
                raise ValueError(f"{name} must be (least, most) with 1 <= least <= most, not {(least, most)}")
        if self.whole_from < 1:
            raise ValueError(f"whole_from is {self.whole_from}; expected 1 or more")
        if self.frames == "pooled" and (self.mode not in ("single", "anyres") or not self.newline):
            raise ValueError("frames = 'pooled' needs mode single or anyres, and a newline")
        for field in dataclasses.fields(ViewConfig)[1:]:
            if self.mode == "anyres" and field.name != "frames" and getattr(self, field.name) != field.default:
                raise ValueError(f"mode anyres takes its rules from the model: {field.name} cannot be set")


SINGLE = ViewConfig()


@dataclasses.dataclass(frozen=True)
class AnyresViewConfig(ViewConfig):
    """Mode "anyres" with the rules of a model.

    Attributes:
      spec: tiles and grids.
      mean: colour, in 0..1, that pads the images of a prompt with several.
    """

    mode: Literal["single", "static", "dynamic", "anyres"] = "anyres"
    spec: AnyresSpec = AnyresSpec()
    mean: tuple[float, float, float] = (0.5, 0.5, 0.5)

    def layouts(self, sizes: Sequence[tuple[int, int]]) -> list[TileLayout]:
        """The layouts of a prompt's images, (height, width) in pixels: one is tiled, several are one view each."""
        if len(sizes) == 1:
            return [anyres_layout(*sizes[0], self.spec)]
        return [single_layout(self.spec)] * len(sizes)


@dataclasses.dataclass(frozen=True)
class View:
    """One input of the vision tower: a tile (row and column from 1), or the whole image (0, 0)."""

    image: int
    row: int = 0
    column: int = 0


@dataclasses.dataclass(frozen=True)
class Placement:
    """An image on its grid, in pixels of the grid: resized to `height` x `width`, its corner at (`top`, `left`)."""

    grid: Grid
    height: int
    width: int
    top: int
    left: int


def grids(n_min: int, n_max: int) -> list[Grid]:
    """All grids of `n_min` to `n_max` tiles, sorted by tiles, then rows."""
    candidates = [(r, n // r) for n in range(n_min, n_max + 1) for r in range(1, n + 1) if n % r == 0]
    return sorted(candidates, key=lambda g: (g[0] * g[1], g[0]))


def fit_size(height: int, width: int, grid: Grid, resolution: int) -> tuple[int, int]:
    """The largest (height, width) of the same aspect ratio that fits onto the grid, at least 1 x 1."""
    scale = min(Fraction(grid[0] * resolution, height), Fraction(grid[1] * resolution, width))
    return max(1, round(height * scale)), max(1, round(width * scale))


def choose_grid(height: int, width: int, config: ViewConfig, resolution: int) -> Grid:
    """MM1.5's rule (eq. 1): the grid with the least padding among those that do not shrink the image.

    If all shrink it, the one that keeps the most pixels. LLaVA's rule is `anyres.select_best_grid`.
    """
    covering: list[tuple[int, Grid]] = []
    others: list[tuple[int, Grid]] = []
    for grid in grids(*config.tiles):
        h, w = fit_size(height, width, grid, resolution)
        if h >= height and w >= width:
            covering.append((grid[0] * grid[1] * resolution**2 - h * w, grid))
        else:
            others.append((-h * w, grid))
    return min(covering or others, key=lambda c: c[0])[1]  # min keeps the first of equals: fewest tiles, then rows


def place(height: int, width: int, config: ViewConfig, resolution: int) -> Placement:
    """Where an image that is split lies on its grid."""
    grid = (2, 2) if config.mode == "static" else choose_grid(height, width, config, resolution)
    h, w = fit_size(height, width, grid, resolution)
    return Placement(grid, h, w, (grid[0] * resolution - h) // 2, (grid[1] * resolution - w) // 2)


def views(sizes: Sequence[tuple[int, int]], config: ViewConfig, resolution: int) -> list[list[View | str]]:
    """For each of a prompt's images, (height, width) in pixels, its views in order with the indicators between them.

    Raises:
      ValueError: the mode is "anyres", see `AnyresViewConfig.layouts`.
    """
    if config.mode in ("anyres", "native"):
        raise ValueError(f"mode {config.mode} has layouts of its own instead of views")
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
