"""Even sampling of frames."""

from __future__ import annotations

import pytest

from mmssr_jax.images.frames import even_frames


@pytest.mark.parametrize(
    ("total", "count", "shown"),
    [
        (8, 4, [0, 2, 5, 7]),
        (8, 8, list(range(8))),
        (3, 24, [0, 1, 2]),
        (9, 1, [4]),
        (100, 2, [0, 99]),
        (5, 3, [0, 2, 4]),
        (0, 4, []),
    ],
)
def test_frames_are_taken_evenly(total, count, shown):
    assert even_frames(total, count) == shown


def test_frames_are_different_and_hold_both_ends():
    for total in range(2, 40):
        for count in range(2, total + 1):
            shown = even_frames(total, count)
            assert (shown[0], shown[-1], len(set(shown))) == (0, total - 1, count)
