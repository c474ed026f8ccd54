"""Frames of a video as one clip with one tag."""

from __future__ import annotations

import dataclasses

import pytest

from mmssr_jax.core.sample import ImageRef, Sample, Turn
from mmssr_jax.images.frames import frame_refs
from mmssr_jax.images.merged_clips import ClipRef, merge_clips
from mmssr_jax.images.views import AnyresViewConfig, ViewConfig
from tests import small


def frame(video: str, number: int) -> ImageRef:
    return dataclasses.replace(small.picture(number, 9, 9), clip=(video, number))


STILL = small.picture(7, 7, 7)
TWO = (frame("a", 0), frame("a", 1))


@pytest.mark.parametrize(
    ("texts", "images", "merged", "frames"),
    [
        (["<image><image>\nWhat?"], TWO, ["<image>\nWhat?"], [2]),
        (["<image>\n<image>\nWhat?"], TWO, ["<image>\nWhat?"], [2]),  # as evaluation writes the tags
        (["Look: <image><image> and <image>"], (*TWO, STILL), ["Look: <image> and <image>"], [2, None]),
        (["<image><image><image>"], (STILL, *TWO), ["<image><image>"], [None, 2]),
        (["<image> then <image>"], TWO, ["<image> then <image>"], [1, 1]),  # words stand between
        (["<image><image><image><image>"], (*TWO, frame("b", 0), frame("b", 1)), ["<image><image>"], [2, 2]),
        (["<image><image><image><image>"], (*TWO, *TWO), ["<image><image>"], [2, 2]),  # the same video twice
        (["<image><image>"], (frame("a", 0), frame("a", 5)), ["<image>"], [2]),  # subsampled frames
        (["<image>", "Yes", "<image>?"], TWO, ["<image>", "Yes", "<image>?"], [1, 1]),  # not across turns
        (["What?"], (), ["What?"], []),
    ],
)
def test_frames_beside_each_other(texts, images, merged, frames):
    roles = ("user", "assistant")
    sample = Sample("a", "s", tuple(Turn(roles[n % 2], text) for n, text in enumerate(texts)), images)
    found = merge_clips(sample)
    assert [turn.text for turn in found.turns] == merged
    assert [ref.frames if isinstance(ref, ClipRef) else None for ref in found.images] == frames


def test_a_folder_of_frames_is_a_video(tmp_path):
    for n in range(3):
        (tmp_path / f"f{n}.png").write_bytes(small.picture(n).read())
    refs = frame_refs(tmp_path, 4)
    assert [ref.clip for ref in refs] == [(str(tmp_path), n) for n in range(4)]


def test_where_frames_can_be_pooled():
    assert AnyresViewConfig(frames="pooled").frames == ViewConfig("anyres", frames="pooled").frames == "pooled"
    for wrong in ({"mode": "static"}, {"mode": "dynamic"}, {"newline": False}):
        with pytest.raises(ValueError, match="frames = 'pooled' needs mode single or anyres, and a newline"):
            ViewConfig(**wrong, frames="pooled")
