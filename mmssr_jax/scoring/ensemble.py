"""One or two models that rate a pool together: a scorer that also names the styles, or a scorer and a styler."""

from __future__ import annotations

import dataclasses
from typing import Any

from mmssr_jax.core.sample import Sample
from mmssr_jax.core.vocabulary import Capability
from mmssr_jax.data.example import Example
from mmssr_jax.images.preprocess import preprocess
from mmssr_jax.scoring.scorer import Scorer, ScorerOutput, ScoringBatcher, TokenCounts


@dataclasses.dataclass(frozen=True)
class ScorerEnsemble:
    """Asks `scorer` for the capabilities, and `styler`, where there is one, for the styles."""

    scorer: Scorer
    styler: Scorer | None = None

    @property
    def raters(self) -> tuple[Scorer, ...]:
        return (self.scorer,) if self.styler is None else (self.scorer, self.styler)

    @property
    def capabilities(self) -> tuple[Capability, ...]:
        """What the scores are for, in order."""
        return self.scorer.encoder.capabilities

    @property
    def work(self) -> TokenCounts:
        """What all models computed so far; samples count once."""
        works = [r.work for r in self.raters]
        return TokenCounts(works[0].samples, sum(w.tokens for w in works), sum(w.computed for w in works))

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
                seen, pixels = preprocess(sample, rater.views, rater.image_size, max_pixels=max_pixels)
                looked = looks
            try:
                example = rater.encoder.prompt(seen, pixels)
                rater.shape(example)
            except ValueError as e:
                raise DoesNotFitError(str(e)) from None
            found.append(example)
        return tuple(found)

    def start(self, count: int) -> EnsembleBatcher:
        """Begins to rate `count` samples."""
        return EnsembleBatcher([ScoringBatcher(r, count) for r in self.raters])


class DoesNotFitError(Exception):
    """A sample that no bucket holds."""


@dataclasses.dataclass
class EnsembleBatcher:
    """As `Rating`, with one example a model."""

    ratings: list[ScoringBatcher]

    def add(self, examples: tuple[Example, ...]) -> None:
        for rating, example in zip(self.ratings, examples, strict=True):
            rating.add(example)

    def finish(self) -> ScorerOutput:
        first, *rest = [r.finish() for r in self.ratings]
        return dataclasses.replace(first, style_share=rest[0].style_share, styles=rest[0].styles) if rest else first
