"""From the judge's table to what the scorer is trained on, and what it is measured on."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from mmssr_jax.core import tables
from mmssr_jax.scoring.encoder import ScorerLabels


def labels_by_id(judgments: pa.Table, slugs: Sequence[str]) -> dict[str, ScorerLabels]:
    """The judge's answers of every sample that has all of the named scores.

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


def held_out(ids: Sequence[str], *, share: float, seed: int) -> np.ndarray:
    """Which samples are kept from training, bool [n]: a function of seed and id alone, about `share` of them."""
    drawn = [hashlib.sha256(f"{seed}:{i}".encode()).digest()[:8] for i in ids]
    return np.array([int.from_bytes(d, "big") / 2**64 < share for d in drawn], bool)
