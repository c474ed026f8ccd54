"""Control: random samples of a pool from which only near-duplicates are removed."""

from __future__ import annotations

import dataclasses

from mmssr_jax.selection.method import Needs
from mmssr_jax.selection.methods.random import RandomSelector


@dataclasses.dataclass(frozen=True)
class DeduplicatedSelector(RandomSelector):
    """The random method, with the section's `near_duplicates` required."""

    @property
    def needs(self) -> Needs:
        """See `Selector.needs`."""
        return Needs(near_duplicates=True)


METHOD = DeduplicatedSelector
