"""Figures of the pictures: geometric shapes and simple icons, of one colour each."""

from __future__ import annotations

import math
from collections.abc import Callable

from mmssr_jax.synthetic.canvas import RGB, Point, regular_polygon, star
from mmssr_jax.synthetic.matching.picture import Pen

Outline = list[Point]  # around the origin, radius 1

_UP = -math.pi / 2
_HEART = [
    (math.sin(t) ** 3, -(13 * math.cos(t) - 5 * math.cos(2 * t) - 2 * math.cos(3 * t) - math.cos(4 * t)) / 16)
    for t in (2 * math.pi * k / 24 for k in range(24))
]
_ARC = [(math.cos(math.pi * k / 12), math.sin(math.pi * k / 12)) for k in range(13)]
_CROSS = [(-0.33, -1), (0.33, -1), (0.33, -0.33), (1, -0.33), (1, 0.33), (0.33, 0.33), (0.33, 1), (-0.33, 1),
          (-0.33, 0.33), (-1, 0.33), (-1, -0.33), (-0.33, -0.33)]  # fmt: skip
POLYGONS: dict[str, Outline] = {
    "square": regular_polygon((0, 0), 4, 1, _UP + math.pi / 4),
    "triangle": regular_polygon((0, 0), 3, 1, _UP),
    "star": star((0, 0), 5, 1, 0.42),
    "cross": _CROSS,
    "diamond": [(0.7 * x, y) for x, y in regular_polygon((0, 0), 4, 1, _UP)],
    "pentagon": regular_polygon((0, 0), 5, 1, _UP),
    "hexagon": regular_polygon((0, 0), 6, 1, 0),
    "octagon": regular_polygon((0, 0), 8, 1, math.pi / 8),
    "heart": _HEART,
    "rectangle": [(-1, -0.45), (1, -0.45), (1, 0.45), (-1, 0.45)],
    "arrow": [(-1, -0.3), (0, -0.3), (0, -0.8), (1, 0), (0, 0.8), (0, 0.3), (-1, 0.3)],
    "half circle": [(x, 0.5 - y) for x, y in _ARC],
    "lightning": [(0.1, -1), (-0.6, 0.15), (-0.05, 0.15), (-0.2, 1), (0.6, -0.25), (0.05, -0.25), (0.5, -1)],
}
SHAPES = ("circle", "ring", "moon", *POLYGONS)


def shape(pen: Pen, name: str, centre: Point, r: float, colour: RGB, turn: float = 0.0) -> None:
    """A shape of radius `r`, turned by `turn` (radians, clockwise)."""
    x, y = centre
    if name == "ring":
        pen.disc(centre, r, None, ring=colour)
    elif name == "circle":
        pen.disc(centre, r, colour)
    elif name == "moon":
        outer = [(math.cos(t), math.sin(t)) for t in (0.35 + 5.58 * k / 20 for k in range(21))]
        inner = [(0.42 + 0.72 * math.cos(t), 0.62 * math.sin(t)) for t in (5.7 - 5.1 * k / 16 for k in range(17))]
        pen.polygon([(x + a * r, y + b * r) for a, b in (*outer, *inner)], colour)
    else:
        c, s = math.cos(turn), math.sin(turn)
        pen.polygon([(x + r * (c * a - s * b), y + r * (s * a + c * b)) for a, b in POLYGONS[name]], colour)


def _house(pen: Pen, ink: RGB) -> None:
    pen.panel((0.25, 0.45), (0.5, 0.45), (236, 222, 200))
    pen.polygon([(0.18, 0.47), (0.5, 0.12), (0.82, 0.47)], ink)
    pen.panel((0.43, 0.64), (0.14, 0.26), (96, 66, 48))


def _tree(pen: Pen, ink: RGB) -> None:
    pen.panel((0.44, 0.55), (0.12, 0.38), (110, 74, 46))
    pen.disc((0.5, 0.36), 0.28, ink)


def _car(pen: Pen, ink: RGB) -> None:
    pen.polygon([(0.28, 0.5), (0.38, 0.3), (0.64, 0.3), (0.76, 0.5)], (196, 222, 236))
    pen.panel((0.1, 0.48), (0.8, 0.2), ink)
    for x in (0.28, 0.72):
        pen.disc((x, 0.7), 0.1, (40, 40, 44))


def _boat(pen: Pen, ink: RGB) -> None:
    pen.polygon([(0.14, 0.68), (0.86, 0.68), (0.72, 0.88), (0.28, 0.88)], (120, 80, 52))
    pen.line([(0.5, 0.1), (0.5, 0.68)], (60, 50, 44), 0.04)
    pen.polygon([(0.54, 0.12), (0.54, 0.6), (0.84, 0.6)], ink)


def _fish(pen: Pen, ink: RGB) -> None:
    pen.polygon([(0.7, 0.5), (0.92, 0.3), (0.92, 0.7)], ink)
    pen.polygon([(0.45 + 0.33 * math.cos(t), 0.5 + 0.2 * math.sin(t)) for t in (k * 0.3142 for k in range(20))], ink)
    pen.disc((0.27, 0.46), 0.04, (20, 20, 24))


def _flower(pen: Pen, ink: RGB) -> None:
    pen.line([(0.5, 0.45), (0.5, 0.95)], (50, 130, 60), 0.05)
    for k in range(6):
        pen.disc((0.5 + 0.17 * math.cos(k * 1.047), 0.35 + 0.17 * math.sin(k * 1.047)), 0.1, ink)
    pen.disc((0.5, 0.35), 0.09, (250, 210, 40))


def _cup(pen: Pen, ink: RGB) -> None:
    pen.disc((0.72, 0.55), 0.14, None, ring=ink)
    pen.polygon([(0.22, 0.34), (0.72, 0.34), (0.66, 0.8), (0.28, 0.8)], ink)


def _lamp(pen: Pen, ink: RGB) -> None:
    pen.panel((0.46, 0.45), (0.08, 0.4), (90, 84, 80))
    pen.panel((0.3, 0.84), (0.4, 0.06), (90, 84, 80))
    pen.polygon([(0.36, 0.12), (0.64, 0.12), (0.8, 0.48), (0.2, 0.48)], ink)


def _person(pen: Pen, ink: RGB) -> None:
    pen.disc((0.5, 0.2), 0.12, (226, 184, 150))
    pen.polygon([(0.34, 0.34), (0.66, 0.34), (0.62, 0.66), (0.38, 0.66)], ink)
    for x in (0.42, 0.58):
        pen.line([(x, 0.64), (x, 0.95)], (60, 60, 80), 0.08)


def _key(pen: Pen, ink: RGB) -> None:
    pen.disc((0.28, 0.5), 0.18, None, ring=ink)
    pen.line([(0.44, 0.5), (0.9, 0.5)], ink, 0.07)
    for x in (0.74, 0.86):
        pen.line([(x, 0.5), (x, 0.64)], ink, 0.06)


def _umbrella(pen: Pen, ink: RGB) -> None:
    pen.line([(0.5, 0.3), (0.5, 0.86), (0.6, 0.92), (0.66, 0.84)], (70, 56, 46), 0.04)
    pen.polygon([(0.5 + 0.4 * x, 0.5 - 0.38 * y) for x, y in _ARC], ink)


def _mushroom(pen: Pen, ink: RGB) -> None:
    pen.polygon([(0.4, 0.48), (0.6, 0.48), (0.64, 0.9), (0.36, 0.9)], (240, 230, 210))
    pen.polygon([(0.5 + 0.36 * x, 0.52 - 0.36 * y) for x, y in _ARC], ink)


ICONS: dict[str, Callable[[Pen, RGB], None]] = {
    f.__name__[1:]: f
    for f in (_house, _tree, _car, _boat, _fish, _flower, _cup, _lamp, _person, _key, _umbrella, _mushroom)
}
