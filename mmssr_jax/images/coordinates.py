"""Referring and grounding with coordinates as text (MM1.5): `<x,y>` and `<x1,y1,x2,y2>`, integers, no spaces.

The unit is a pixel of the picture resized so that its longer side is 672: the paper does not say so, but its figure 3
measures so. x runs right and y down. The same scale holds whether and however a picture is split; `to_tile` and
`from_tile` say where a place lies on the tiles of `core.splitting`.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence

from mmssr_jax.images.views import Placement

LONGER_SIDE = 672
_REGION = re.compile(r"<(\d+),(\d+)(?:,(\d+),(\d+))?>")


@dataclasses.dataclass(frozen=True)
class Region:
    """A point (x, y) or a box (x1, y1, x2, y2) found in a text, in pixels of the picture.

    Attributes:
      numbers: two or four.
      start, end: where it stands in the text.
    """

    numbers: tuple[float, ...]
    start: int
    end: int


def write(numbers: Sequence[float], *, height: int, width: int) -> str:
    """A point or box in pixels of a picture as text. A place outside is moved to the edge, corners are put in order.

    Raises:
      ValueError: neither two nor four numbers.
    """
    if len(numbers) not in (2, 4):
        raise ValueError(f"a point has 2 numbers and a box 4, not {len(numbers)}")
    scale = LONGER_SIDE / max(height, width)
    limits = (width, height) * (len(numbers) // 2)
    inside = [min(max(n, 0.0), float(limit)) for n, limit in zip(numbers, limits, strict=True)]
    if len(inside) == 4:
        (x1, x2), (y1, y2) = sorted(inside[::2]), sorted(inside[1::2])
        inside = [x1, y1, x2, y2]
    return "<" + ",".join(str(round(n * scale)) for n in inside) + ">"


def find(text: str, *, height: int, width: int) -> list[Region]:
    """All points and boxes of a text, in pixels of a picture, in order; what is no whole region is passed over."""
    scale = max(height, width) / LONGER_SIDE
    return [
        Region(tuple(int(n) * scale for n in m.groups() if n is not None), m.start(), m.end())
        for m in _REGION.finditer(text)
    ]


def iou(a: Sequence[float], b: Sequence[float]) -> float:
    """Intersection over union of two boxes; 0 where both are empty."""
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    shared = max(width, 0.0) * max(height, 0.0)
    both = sum((box[2] - box[0]) * (box[3] - box[1]) for box in (a, b)) - shared
    return shared / both if both > 0 else 0.0


def to_tile(
    x: float, y: float, *, height: int, width: int, placement: Placement, resolution: int
) -> tuple[int, int, float, float]:
    """A place of a picture as (row, column) of its tile, from 1, and the place on that tile."""
    across = placement.left + x * placement.width / width
    down = placement.top + y * placement.height / height
    row = min(int(down // resolution), placement.grid[0] - 1)
    column = min(int(across // resolution), placement.grid[1] - 1)
    return row + 1, column + 1, across - column * resolution, down - row * resolution


def from_tile(
    row: int, column: int, x: float, y: float, *, height: int, width: int, placement: Placement, resolution: int
) -> tuple[float, float]:
    """The inverse of `to_tile`: (x, y) on the picture."""
    across = (column - 1) * resolution + x - placement.left
    down = (row - 1) * resolution + y - placement.top
    return across * width / placement.width, down * height / placement.height
