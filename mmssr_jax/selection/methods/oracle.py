"""Control: the rule of mmSSR on the true scores and styles of a synthetic pool, the upper bound of any scorer."""

from __future__ import annotations

import dataclasses

from mmssr_jax.selection.method import Needs
from mmssr_jax.selection.methods.mmssr import MmssrSelector


@dataclasses.dataclass(frozen=True)
class OracleSelector(MmssrSelector):
    """mmSSR with its settings, on the pool's truth instead of the scorer's scores."""

    @property
    def needs(self) -> Needs:
        """See `Selector.needs`."""
        return dataclasses.replace(super().needs, truth=True)


METHOD = OracleSelector
