"""One or two models that rate a pool together: a scorer that also names the styles, or a scorer and a styler."""

from __future__ import annotations

import dataclasses
from typing import Any

from mmssr_jax.core.sample import Sample
from mmssr_jax.core.vocabulary import Capability
from mmssr_jax.data.example import Example
from mmssr_jax.data.splitting import see
from mmssr_jax.scoring.rater import Rater, Rating, Ratings, Work


@dataclasses.dataclass(frozen=True)
class Panel:
    """Asks `scorer` for the capabilities, and `styler`, where there is one, for the styles."""

    scorer: Rater
    styler: Rater | None = None

    @property
    def raters(self) -> tuple[Rater, ...]:
        return (self.scorer,) if self.styler is None else (self.scorer, self.styler)

    @property
    def capabilities(self) -> tuple[Capability, ...]:
        """What the scores are for, in order."""
        return self.scorer.encoder.capabilities

    @property
    def work(self) -> Work:
        """What all models computed so far; samples count once."""
        works = [r.work for r in self.raters]
        return Work(works[0].samples, sum(w.tokens for w in works), sum(w.computed for w in works))

    def prompts(self, sample: Sample, *, max_pixels: int) -> tuple[Example, ...]:
        """What each model reads; pictures are decoded once where both look at them alike.

        Raises:
          OSError, ValueError: a picture cannot be read.
          DoesNotFitError: the sample is larger than the largest bucket.
        """
        found: list[Example] = []
        looked: Any = None
        for rater in self.raters:
            looks = (rater.views, rater.image_size)
            if looks != looked:
                seen, pixels = see(sample, rater.views, rater.image_size, max_pixels=max_pixels)
                looked = looks
            try:
                example = rater.encoder.prompt(seen, pixels)
                rater.shape(example)
            except ValueError as e:
                raise DoesNotFitError(str(e)) from None
            found.append(example)
        return tuple(found)

    def start(self, count: int) -> PanelRating:
        """Begins to rate `count` samples."""
        return PanelRating([Rating(r, count) for r in self.raters])


class DoesNotFitError(Exception):
    """A sample that no bucket holds."""


@dataclasses.dataclass
class PanelRating:
    """As `Rating`, with one example a model."""

    ratings: list[Rating]

    def add(self, examples: tuple[Example, ...]) -> None:
        for rating, example in zip(self.ratings, examples, strict=True):
            rating.add(example)

    def finish(self) -> Ratings:
        first, *rest = [r.finish() for r in self.ratings]
        return dataclasses.replace(first, style_share=rest[0].style_share, styles=rest[0].styles) if rest else first
