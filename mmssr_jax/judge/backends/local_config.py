"""The settings of a model of this project as a judge."""

from __future__ import annotations

import dataclasses

from mmssr_jax.images.decode import DEFAULT_MAX_PIXELS


@dataclasses.dataclass(frozen=True)
class LocalConfig:
    """A model on this machine that is told the rubric as an API judge is, and fills the answer's form.

    Attributes:
      model: "base" (what `config.base` names), a run of this workdir, or a folder.
      name: what the rows call this judge; "local:" and the model where not given.
      temperature: 0 takes the likeliest scores, which are the same at every rating; more draws them.
      seed: of the draws; a draw hangs on it, the sample's id, and the number of the rating.
      rows: samples at once.
      length_step: prompts are padded to a multiple of this many tokens.
      max_length: a sample whose prompt is longer is skipped ("too_long").
      images: view counts that are padded to, ascending; a sample with more is skipped ("too_long").
      max_images: of a sample with more pictures the first so many are shown.
      max_chars: a sample with a longer conversation is skipped ("too_long").
      max_pixels: larger pictures are not decoded ("unreadable_image").
    """

    model: str = "base"
    name: str | None = None
    temperature: float = 0.0
    seed: int = 0
    rows: int = 8
    length_step: int = 256
    max_length: int = 8192
    images: tuple[int, ...] = (0, 1, 2, 4, 8)
    max_images: int = 8
    max_chars: int = 40_000
    max_pixels: int = DEFAULT_MAX_PIXELS

    def __post_init__(self) -> None:
        if self.temperature < 0:
            raise ValueError(f"temperature is {self.temperature}, expected 0 or more")
        for name in ("rows", "length_step", "max_length", "max_images", "max_chars", "max_pixels"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}, expected 1 or more")
        if not self.images or list(self.images) != sorted(set(self.images)) or self.images[0] < 0:
            raise ValueError(f"images is {self.images}, expected rising counts, such as (0, 1, 2, 4)")
