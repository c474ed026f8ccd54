"""The frames of a video as one clip with one tag, for models that pool them (LLaVA-OneVision)."""

from __future__ import annotations

import dataclasses

from mmssr_jax.core.sample import IMAGE_TAG, ImageRef, Sample, Turn


@dataclasses.dataclass(frozen=True)
class ClipRef(ImageRef):
    """`frames` frames of one video, in order; their features are pooled, see `anyres.video_feature_index`."""

    frames: int = dataclasses.field(kw_only=True)


def merge_clips(sample: Sample) -> Sample:
    """The sample with a `ClipRef` and one tag for the frames of each video.

    Frames belong together if they are of one video, in order, and only white space is between their tags,
    which is dropped.

    Args:
      sample: with as many images as tags.
    """
    turns: list[Turn] = []
    refs: list[ImageRef] = []
    at = 0
    for turn in sample.turns:
        text, *following = turn.text.split(IMAGE_TAG)
        while following:
            n = _clip_length(sample.images[at:], following)
            first = sample.images[at]
            refs.append(first if n == 0 else ClipRef(first.path, first.data, clip=first.clip, frames=n))
            n = max(n, 1)
            text += IMAGE_TAG + following[n - 1]
            following, at = following[n:], at + n
        turns.append(dataclasses.replace(turn, text=text))
    return dataclasses.replace(sample, turns=tuple(turns), images=tuple(refs))


def _clip_length(refs: tuple[ImageRef, ...], following: list[str]) -> int:
    """How many of `refs`, from the first on, are one clip, given the text after each of the turn's remaining tags.

    0 for a still image.
    """
    if refs[0].clip is None:
        return 0
    n = 1
    while n < len(following) and not following[n - 1].strip() and refs[n].follows(refs[n - 1]):
        n += 1
    return n
