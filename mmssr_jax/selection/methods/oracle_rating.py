"""Control: the highest mean true score first, on a synthetic pool: perfect scores without mmSSR's rule."""

from __future__ import annotations

import dataclasses

from mmssr_jax.selection.method import Needs
from mmssr_jax.selection.methods.rating_threshold import RatingThresholdSelector


@dataclasses.dataclass(frozen=True)
class OracleRatingSelector(RatingThresholdSelector):
    """`rating_threshold` with its settings, on the pool's truth instead of the scorer's scores."""

    @property
    def needs(self) -> Needs:
        """See `Selector.needs`."""
        return dataclasses.replace(super().needs, truth=True)


METHOD = OracleRatingSelector
