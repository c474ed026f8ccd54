"""What a selection consists of: behind benchmarks/composition.py, which says what the numbers mean."""

from __future__ import annotations

import collections
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from mmssr_jax.core.vocabulary import SLUGS


def effective(values: Iterable[Any]) -> float:
    """The exponential of the entropy of values, 0 without any."""
    counts = np.array(list(collections.Counter(values).values()), float)
    shares = counts / counts.sum()
    return float(np.exp(-(shares * np.log(shares)).sum())) if len(counts) else 0.0


def composition(
    picks: Sequence[Mapping[str, Any]], truth: Mapping[str, Mapping[str, Any]], answers: Mapping[str, str]
) -> dict[str, Any]:
    """The numbers of one selection; see the module.

    Args:
      picks: id and capability of each.
      truth: id -> what the generator knows.
      answers: id -> the last answer.
    """
    sound = [truth[p["id"]] for p in picks if not truth[p["id"]]["flaw"]]
    by_skill = [[answers[row["id"]] for row in sound if row["kind"] == skill] for skill in SLUGS]
    chose = {p["capability"] for p in picks} - {None, ""}
    return {
        "flawed": round(1 - len(sound) / len(picks), 4),
        "empty": len(set(SLUGS) - chose) if chose else None,
        "answers": round(float(np.mean([effective(found) for found in by_skill])), 2),
        "level": round(float(np.mean([row["difficulty"] for row in sound])), 3),
    }  # fmt: skip
