"""Points of an image on the tiles of `images.views`, and back."""

from __future__ import annotations

from mmssr_jax.images.views import Placement


def to_tile(
    x: float, y: float, *, height: int, width: int, placement: Placement, resolution: int
) -> tuple[int, int, float, float]:
    """A point of an image as (row, column) of its tile, counted from 1, and (x, y) on that tile."""
    across = placement.left + x * placement.width / width
    down = placement.top + y * placement.height / height
    row = min(int(down // resolution), placement.grid[0] - 1)
    column = min(int(across // resolution), placement.grid[1] - 1)
    return row + 1, column + 1, across - column * resolution, down - row * resolution


def from_tile(
    row: int, column: int, x: float, y: float, *, height: int, width: int, placement: Placement, resolution: int
) -> tuple[float, float]:
    """The inverse of `to_tile`: (x, y) on the image."""
    across = (column - 1) * resolution + x - placement.left
    down = (row - 1) * resolution + y - placement.top
    return across * width / placement.width, down * height / placement.height
