"""The number of frames that a video gives by its frame rate."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmssr_jax.images.frame_rate import FrameRate


@pytest.mark.parametrize(
    ("total", "video_fps", "frames"),
    [
        (300, 30.0, 20),  # 10 s
        (299, 30.0, 19),  # rounded down
        (250, 25.0, 20),
        (240, 23.976, 20),
        (30, 30.0, 4),  # 1 s: the fewest
        (3, 30.0, 3),  # all
        (1, 25.0, 1),
        (100, 1.0, 100),  # slower than asked: all
        (9216, 24.0, 768),  # 384 s: the most, exactly
        (90_000, 25.0, 768),  # an hour
    ],
)
def test_the_number_of_frames(total, video_fps, frames):
    assert FrameRate().count(total, video_fps) == frames
    assert len(FrameRate().indices(total, video_fps)) == frames


def test_which_frames():
    assert FrameRate().indices(60, 24.0) == [0, 15, 30, 44, 59]  # 14.75, 29.5 (to the even), 44.25
    assert FrameRate(fps=1).indices(90, 30.0) == [0, 30, 59, 89]  # 3 s: the fewest
    assert FrameRate(fps=1, min_frames=1).indices(90, 30.0) == [0, 44, 89]  # 44.5 to the even
    assert FrameRate(fps=0.5, min_frames=1, max_frames=2).indices(300, 30.0) == [0, 299]


@given(
    total=st.integers(1, 5000),
    video_fps=st.floats(1, 120),
    fps=st.floats(0.1, 10),
    limits=st.tuples(*[st.integers(1, 99)] * 2),
)
def test_frames_ascend_within_the_limits(total, video_fps, fps, limits):
    rate = FrameRate(fps, min(limits), max(limits))
    frames = rate.indices(total, video_fps)
    assert frames == sorted(set(frames))
    assert (frames[0], min(rate.min_frames, total) <= len(frames) <= min(rate.max_frames, total)) == (0, True)
    assert frames[-1] == total - 1 or len(frames) == 1


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"fps": 0}, "fps is 0; expected more than 0"),
        ({"min_frames": 0}, "min_frames is 0"),
        ({"max_frames": 3}, "min_frames is 4 and max_frames 3"),
    ],
)
def test_limits_are_checked(settings, says):
    with pytest.raises(ValueError, match=says):
        FrameRate(**settings)
