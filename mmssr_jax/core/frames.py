"""Which frames of a video are shown."""

from __future__ import annotations


def even_frames(total: int, count: int) -> list[int]:
    """The indices of at most `count` of `total` frames: the first, the last, and those evenly between them.

    `even_frames(8, 4)` -> [0, 2, 5, 7]; one frame alone is the middle one. A position half-way takes the later frame.
    """
    if count >= total:
        return list(range(total))
    if count == 1:
        return [total // 2]
    return [(2 * i * (total - 1) + count - 1) // (2 * (count - 1)) for i in range(count)]
