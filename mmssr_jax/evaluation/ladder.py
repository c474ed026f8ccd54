"""The ladder: what a pool and its benchmark must be able to tell before they can judge a way to select.

    flaw-free > start      the skills are learnable from the pool, and not known before
    flaw-free > whole      flaws cost something
    unflawed > random      a random part without flaws teaches more than a random part
    oracle > random        the rule of mmSSR on the true ratings; it is reported, whatever it is

Each rung is a difference of two arms, paired inside replicates. It holds where its 95 % t interval is above its bound.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from mmssr_jax.evaluation.replicates import Interval, paired_difference, power


@dataclasses.dataclass(frozen=True)
class Rung:
    """One comparison.

    Attributes:
      name: what it shows.
      better, worse: the arms.
      bound: what the difference must exceed, in points.
    """

    name: str
    better: str
    worse: str
    bound: float = 0.0


RUNGS: tuple[Rung, ...] = (
    Rung("the skills are learnable", "clean", "base", 30.0),
    Rung("flaws cost something", "clean", "whole"),
    Rung("a part without flaws teaches more", "unflawed", "random"),
    Rung("true ratings select better than chance", "oracle", "random"),
)


@dataclasses.dataclass(frozen=True)
class Climbed:
    """A rung with its result.

    Attributes:
      rung: the comparison.
      difference: over replicates, in points.
      holds: whether the interval lies above the bound.
      power: the probability of finding the observed difference from the bound with as many replicates.
    """

    rung: Rung
    difference: Interval
    holds: bool
    power: float


def climb(values: Mapping[str, Sequence[float]], rungs: Sequence[Rung] = RUNGS) -> list[Climbed]:
    """The rungs' results.

    Args:
      values: arm -> [R], one number a replicate, in percent.
      rungs: the comparisons.
    """
    results = []
    for rung in rungs:
        better, worse = (np.asarray(values[arm], np.float64) for arm in (rung.better, rung.worse))
        gap = better - worse - rung.bound
        deviation = float(gap.std(ddof=1)) if len(gap) > 1 else 0.0
        difference = paired_difference(better, worse)
        found = power(float(gap.mean()), deviation, len(gap))
        results.append(Climbed(rung, difference, bool(difference.low > rung.bound), found))
    return results


def table(results: Sequence[Climbed]) -> str:
    """The rungs as lines of text."""
    lines = ["rung                                      difference   95 % interval   bound  holds  power"]
    for k, one in enumerate(results, 1):
        d, rung = one.difference, one.rung
        lines.append(
            f"{k}. {rung.name:<38} {d.mean:+10.1f}   {d.low:+5.1f} to {d.high:+5.1f}  {rung.bound:+6.1f}  "
            f"{'yes' if one.holds else 'no':<5}  {one.power:.2f}   ({rung.better} - {rung.worse}, n = {d.replicates})"
        )
    return "\n".join(lines)
