"""Control: the rule of mmSSR on scores that are permuted inside cells of source and styles.

The selection keeps mmSSR's rule, its quotas and the distribution of scores in every cell; only the link between a
sample and its scores is cut.
"""

from __future__ import annotations

import dataclasses
import zlib

import numpy as np

from mmssr_jax.selection.base import Candidates
from mmssr_jax.selection.cells import cells, random_order
from mmssr_jax.selection.methods._rescored import RescoredSelector
from mmssr_jax.selection.table import ScoreTable

_STREAM = 2001


@dataclasses.dataclass(frozen=True)
class PlaceboSelector(RescoredSelector):
    """Each capability's column is permuted on its own among the candidates of a cell (source x set of styles)."""

    def rescored(self, candidates: Candidates) -> ScoreTable:
        """See `RescoredSelector.rescored`."""
        table, rows = candidates.table, np.flatnonzero(candidates.allowed)
        cell = cells(table)
        start = random_order(candidates, rows, stream=_STREAM)
        start = start[np.argsort(cell[start], kind="stable")]
        scores = {}
        for name, column in table.scores.items():
            target = random_order(candidates, rows, stream=_STREAM + 1 + zlib.crc32(name.encode()))
            target = target[np.argsort(cell[target], kind="stable")]
            scores[name] = column.copy()
            scores[name][target] = column[start]
        return dataclasses.replace(table, scores=scores)


METHOD = PlaceboSelector
