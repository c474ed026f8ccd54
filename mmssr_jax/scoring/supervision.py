"""The judge's table as the scorer's training labels."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from mmssr_jax.core import tables
from mmssr_jax.scoring.encoder import ScorerLabels


def labels_by_id(judgments: pa.Table, slugs: Sequence[str]) -> dict[str, ScorerLabels]:
    """Sample id -> the judge's answers, for every sample that has a score for all of `slugs`.

    Raises:
      UserError: the table lacks a capability.
    """
    scores = tables.matrix(judgments, slugs)
    styles = judgments["styles"].to_pylist()
    labels = {}
    for row, sample_id in enumerate(judgments["id"].to_pylist()):
        if np.isfinite(scores[row]).all():
            values = {slug: int(score) for slug, score in zip(slugs, scores[row], strict=True)}
            labels[sample_id] = ScorerLabels(values, styles[row] or [])
    return labels
