"""Settings of the ingestion: how a record becomes a sample, and which samples are accepted."""

from __future__ import annotations

import dataclasses
from typing import Literal

from mmssr_jax.core.errors import UserError
from mmssr_jax.images.decode import DEFAULT_MAX_PIXELS, PILLOW_MAX_PIXELS
from mmssr_jax.images.frame_rate import FrameRate
from mmssr_jax.images.frames import DEFAULT_FRAMES

AUTO_ID = "auto"

Verify = Literal["full", "header"]


class SettingError(UserError):
    """A user error that another value of a setting of the pool would avoid.

    Attributes:
      problem: what is wrong.
      advice: begins with the setting, as "id=auto makes ids from the content"; the stage completes it to a flag.
    """

    def __init__(self, problem: str, advice: str):
        super().__init__(problem, advice)
        self.problem, self.advice = problem, advice

    def __str__(self) -> str:
        return f"{self.problem}; {self.advice}"


@dataclasses.dataclass(frozen=True)
class SourceConfig:
    """How a sample's source is determined; of the settings that are set, the last in this list applies.

    Attributes:
      field: the record's field that holds it; if absent, "data_source" and "image_source" are tried, the names that
        LLaVA-OneVision and mmSSR use.
      path_parts: use the first N folders of the first image's path: 2 of "coco/train2017/1.jpg" is "coco/train2017".
      constant: one name for all samples.
    """

    field: str = "source"
    path_parts: int | None = None
    constant: str | None = None

    def __post_init__(self) -> None:
        if self.path_parts is not None and self.path_parts < 1:
            raise ValueError(f"path_parts is {self.path_parts}; expected 1 or more")
        if self.constant == "":
            raise ValueError("constant is empty; expected a name")


@dataclasses.dataclass(frozen=True)
class TurnsConfig:
    """Which turns of a conversation are kept: questions with their answers, by lists of ratings in the record.

    Attributes:
      ratings: fields of the record that hold one number for each question with its answer; all turns stay if empty.
      minimum: a turn is kept if all its ratings reach this.
      unrated: whether a rating that is null, or absent, drops the turn.
    """

    ratings: tuple[str, ...] = ()
    minimum: float = 0.0
    unrated: Literal["drop", "keep"] = "drop"

    def __post_init__(self) -> None:
        if self.minimum and not self.ratings:
            raise ValueError("minimum needs ratings, fields of the records such as relevance_ratings")


@dataclasses.dataclass(frozen=True)
class RecordConfig:
    """How a record becomes a sample.

    Attributes:
      id: the field that holds the id, or "auto": made of a hash of the content and its occurrence number.
      source: see `SourceConfig`.
      repair: "strict" rejects records that break the format; "llava" repairs what LLaVA-NeXT's loader accepts.
      follow_links: accept symbolic links in the images folder that lead out of it; otherwise such images are rejected.
      frames: number of evenly spaced frames that represent a video.
      frame_rate: takes the frames of video files by their frame rate instead; folders of frames have none.
      turns: drops low-rated turns of a conversation; each is counted as a repair.
    """

    id: str = "id"
    source: SourceConfig = dataclasses.field(default_factory=SourceConfig)
    repair: Literal["strict", "llava"] = "strict"
    follow_links: bool = False
    frames: int = DEFAULT_FRAMES
    frame_rate: FrameRate | None = None
    turns: TurnsConfig = dataclasses.field(default_factory=TurnsConfig)

    def __post_init__(self) -> None:
        if self.frames < 1:
            raise ValueError(f"frames is {self.frames}; expected 1 or more")


@dataclasses.dataclass(frozen=True)
class IngestConfig:
    """How a foreign pool is ingested.

    Attributes:
      rules: how a record becomes a sample.
      verify_images: "full" decodes every image; "header" reads its header only, so truncated images pass.
      max_pixels: images with more pixels are rejected.
      limit: read only the first N records.
    """

    rules: RecordConfig = dataclasses.field(default_factory=RecordConfig)
    verify_images: Verify = "full"
    max_pixels: int = DEFAULT_MAX_PIXELS
    limit: int | None = None

    def __post_init__(self) -> None:
        if not 1 <= self.max_pixels <= PILLOW_MAX_PIXELS:
            raise ValueError(f"max_pixels is {self.max_pixels}; expected 1 to {PILLOW_MAX_PIXELS}")
        if self.limit is not None and self.limit < 1:
            raise ValueError(f"limit is {self.limit}; expected 1 or more")
