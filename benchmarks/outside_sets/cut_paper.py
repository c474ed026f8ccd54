"""Pictures of cut paper: pieces with cast shadows, glued on fibrous board; two items are mounted above each other."""

from __future__ import annotations

import math

import numpy as np
from PIL import Image, ImageDraw

from benchmarks.outside_sets.picture_set import Box, Picture
from mmssr_jax.synthetic.scene import pick

RGB = tuple[int, int, int]
Point = tuple[float, float]  # shares of a box's side
_OVERSAMPLING = 2
_SNIPPETS: tuple[RGB, ...] = ((238, 92, 90), (250, 204, 80), (90, 170, 200), (150, 190, 110), (236, 236, 226))


class Glue:
    """Paper pieces glued in a box: coordinates are shares of the box's side; raised pieces cast a shadow."""

    def __init__(self, image: Image.Image, box: Box, mirrored: bool = False):
        self.image, self.pen, (self.left, self.top, self.side) = image, ImageDraw.Draw(image, "RGBA"), box
        self.mirrored = mirrored

    def at(self, x: float, y: float) -> Point:
        return self.left + (1 - x if self.mirrored else x) * self.side, self.top + y * self.side

    def cut(self, *points: Point, fill: RGB, raised: float = 0.014) -> None:
        """A polygon."""
        if raised:
            self.pen.polygon([self.at(x, y + raised) for x, y in points], fill=(20, 16, 24, 90))
        self.pen.polygon([self.at(*p) for p in points], fill=fill)

    def block(self, x: float, y: float, w: float, h: float, fill: RGB, raised: float = 0.014) -> None:
        self.cut((x, y), (x + w, y), (x + w, y + h), (x, y + h), fill=fill, raised=raised)

    def disc(self, x: float, y: float, r: float, fill: RGB, tall: float = 1.0, raised: float = 0.0) -> None:
        turns = [math.pi * k / 16 for k in range(32)]
        self.cut(*((x + r * math.cos(t), y + r * tall * math.sin(t)) for t in turns), fill=fill, raised=raised)

    def strip(self, *points: Point, fill: RGB, share: float) -> None:
        self.pen.line([self.at(*p) for p in points], fill=fill, width=max(1, round(share * self.side)), joint="curve")


def mount(picture: Picture, rng: np.random.Generator) -> Image.Image:
    """The items on board, 100 to 192 pixels wide; rich pictures have scalloped edges and snippets."""
    items = picture.items
    low, high = (128, 193) if len(items) == 1 else (100, 125)
    width, step = (int(v) for v in rng.integers(low, high, 2))
    board = Image.fromarray(_board(rng, step * len(items) * _OVERSAMPLING, width * _OVERSAMPLING))
    if picture.rich:
        _decorate(board, rng)
    for n, item in enumerate(items):
        side = float(rng.uniform(0.84, 0.92)) * min(width, step) * _OVERSAMPLING
        left, top = (0.5 * (v * _OVERSAMPLING - side) * float(rng.uniform(0.7, 1.3)) for v in (width, step))
        item.draw(board, (left, n * step * _OVERSAMPLING + top, side))
    small = np.asarray(board.resize((width, step * len(items)), Image.Resampling.BOX), float)
    return Image.fromarray(np.clip(_wavy(small, rng) + rng.normal(0, 4, small.shape), 0, 255).astype(np.uint8))


def _board(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """Coloured board with fibres, lit from a side: [height, width, 3] bytes."""
    light = np.linspace(*rng.uniform(0.85, 1.15, 2), width)[None, :, None]
    plain = np.clip(rng.integers(70, 200, 3) * light * np.ones((height, 1, 1)), 0, 255).astype(np.uint8)
    board = Image.fromarray(plain)
    pen = ImageDraw.Draw(board, "RGBA")
    for x, y, turn, grey in rng.uniform(0, 1, (height // 4, 4)):
        at, length = (x * width, y * height), 6 * _OVERSAMPLING
        end = (at[0] + length * math.cos(math.pi * turn), at[1] + length * math.sin(math.pi * turn))
        pen.line((*at, *end), fill=(*(int(255 * grey),) * 3, 60), width=_OVERSAMPLING)
    return np.asarray(board)


def _decorate(board: Image.Image, rng: np.random.Generator) -> None:
    """Scallops along the upper and lower edge, and three-cornered snippets along the others."""
    pen, (w, h) = ImageDraw.Draw(board), board.size
    fill, r = pick(rng, _SNIPPETS), w / 16
    for k in range(9):
        for y in (0, h):
            pen.ellipse((2 * k * r - r, y - r, 2 * k * r + r, y + r), fill=fill)
    for x in (0.03 * w, 0.97 * w):
        for y in rng.uniform(0.1, 0.9, 4) * h:
            corners = rng.uniform(-0.06, 0.06, (3, 2)) * w
            pen.polygon([(x + a, y + b) for a, b in corners], fill=pick(rng, _SNIPPETS))


def _wavy(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Shifts rows and columns [H, W, 3] by up to two pixels, like paper that has dried."""
    h, w = image.shape[:2]
    periods, starts = rng.uniform(30, 60, 2), rng.uniform(0, 2 * math.pi, 2)
    y, x = np.mgrid[:h, :w]
    down = y + 1.6 * np.sin(2 * math.pi * x / periods[0] + starts[0])
    across = x + 1.6 * np.sin(2 * math.pi * y / periods[1] + starts[1])
    return image[np.clip(np.rint(down), 0, h - 1).astype(int), np.clip(np.rint(across), 0, w - 1).astype(int)]
