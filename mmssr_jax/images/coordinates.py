"""Referring and grounding with coordinates as text (MM1.5): `<x,y>` and `<x1,y1,x2,y2>`, integers without spaces.

The unit is a pixel of the image resized so that its longer side is 672: the paper does not state it, but the boxes in
its figure 3 have this scale. x runs right and y down. The scale does not depend on how an image is split into tiles.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence

LONGER_SIDE = 672
_REGION = re.compile(r"<(\d+),(\d+)(?:,(\d+),(\d+))?>")


@dataclasses.dataclass(frozen=True)
class Region:
    """A point (x, y) or a box (x1, y1, x2, y2) found in a text, in pixels of the image.

    Attributes:
      numbers: two or four.
      start, end: its position in the text.
    """

    numbers: tuple[float, ...]
    start: int
    end: int


def write(numbers: Sequence[float], *, height: int, width: int) -> str:
    """A point or box in pixels of an image as text; it is clipped to the image, and corners are put in order.

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
    """All points and boxes of a text, in order, in pixels of the image; incomplete ones are skipped."""
    scale = max(height, width) / LONGER_SIDE
    return [
        Region(tuple(int(n) * scale for n in m.groups() if n is not None), m.start(), m.end())
        for m in _REGION.finditer(text)
    ]


def iou(first: Sequence[float], second: Sequence[float]) -> float:
    """Intersection over union of two boxes; 0 for boxes without area or with corners in the wrong order."""
    width = min(first[2], second[2]) - max(first[0], second[0])
    height = min(first[3], second[3]) - max(first[1], second[1])
    if width <= 0 or height <= 0:
        return 0.0
    union = sum((box[2] - box[0]) * (box[3] - box[1]) for box in (first, second)) - width * height
    return width * height / union if union > 0 else 0.0
