"""Splits the judge's table into the scorer's training labels and its held-out set."""

from __future__ import annotations

import hashlib
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


def held_out(ids: Sequence[str], *, share: float, seed: int) -> np.ndarray:
    """Mask of the samples in the held-out set, bool [n]; about `share` of them.

    Whether a sample is held out depends only on `seed` and its id.
    """
    hashes = [hashlib.sha256(f"{seed}:{i}".encode()).digest()[:8] for i in ids]
    return np.array([int.from_bytes(h, "big") / 2**64 < share for h in hashes], bool)
