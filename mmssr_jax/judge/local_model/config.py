"""The settings of a judge model of this project."""

from __future__ import annotations

import dataclasses

from mmssr_jax.images.decode import DEFAULT_MAX_PIXELS


@dataclasses.dataclass(frozen=True)
class LocalConfig:
    """A model on this machine that gets the same rubric as an API judge, and fills an answer template.

    Attributes:
      model: "base" (the model of `config.base`), a run of this workdir, or a folder.
      name: the judge's name in the output rows; "local:" and the model by default.
      temperature: 0 takes the most likely scores, which are equal in every rating; otherwise scores are sampled.
      seed: of the sampling; a rating is a function of the seed, the sample's id and the number of the rating.
      rows: batch size.
      length_step: prompts are padded to a multiple of this many tokens.
      max_length: a sample with a longer prompt is skipped ("too_long").
      images: numbers of views to pad to, ascending; a sample with more is skipped ("too_long").
      max_images: only the first `max_images` images of a sample are in the prompt.
      max_chars: a sample with a longer conversation, its system prompt included, is skipped ("too_long").
      max_pixels: larger images are not decoded ("unreadable_image").
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
            raise ValueError(f"images is {self.images}, expected ascending counts, such as (0, 1, 2, 4)")
