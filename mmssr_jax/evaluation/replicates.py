"""Statistics over replicates: paired differences, their intervals, Holm's correction, power, and the split of a gain.

A replicate redraws everything that is random (pool, benchmark, judged sample, scorer, draws, training seed), so
replicates are independent and methods are compared inside one. With R replicates every array here is float [R].
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np
from scipy import stats

_MOST_REPLICATES = 100_000


@dataclasses.dataclass(frozen=True)
class Interval:
    """A mean over replicates with its confidence interval.

    Attributes:
      mean: the estimate.
      low, high: the bounds; NaN with fewer than two replicates, or where a value is not finite.
      p: of the two-sided t-test against 0; NaN in the same case.
      replicates: how many there are.
    """

    mean: float
    low: float
    high: float
    p: float
    replicates: int


def t_interval(values: np.ndarray, *, level: float = 0.95) -> Interval:
    """Student's t interval of the mean of independent replicates.

    Args:
      values: [R], one number a replicate.
      level: the probability that the interval covers the true mean, where the values are normal.
    """
    values = np.asarray(values, np.float64)
    n = len(values)
    if n < 2 or not np.isfinite(values).all():
        nan = float("nan")
        return Interval(float(values.mean()) if n else nan, nan, nan, nan, n)
    mean, error = float(values.mean()), float(values.std(ddof=1) / np.sqrt(n))
    half = float(stats.t.ppf((1 + level) / 2, n - 1)) * error
    p = float(2 * stats.t.sf(abs(mean) / error, n - 1)) if error > 0 else float(mean == 0)
    return Interval(mean, mean - half, mean + half, p, n)


def paired_difference(first: np.ndarray, second: np.ndarray, *, level: float = 0.95) -> Interval:
    """`t_interval` of first - second, [R] each, paired inside a replicate."""
    return t_interval(np.asarray(first, np.float64) - np.asarray(second, np.float64), level=level)


def holm(p_values: Mapping[str, float]) -> dict[str, float]:
    """Holm's step-down adjustment (Holm 1979): reject where the adjusted p is at most the family's error rate.

    Args:
      p_values: one p a comparison of the family; NaN (not computable) counts as 1.

    Returns:
      Adjusted values under the same names, never below the given ones.
    """
    order = sorted(p_values, key=lambda name: (_defined(p_values[name]), name))
    adjusted, largest = {}, 0.0
    for rank, name in enumerate(order):
        largest = max(largest, min(1.0, (len(order) - rank) * _defined(p_values[name])))
        adjusted[name] = largest
    return {name: adjusted[name] for name in p_values}


def _defined(p: float) -> float:
    return 1.0 if np.isnan(p) else p


def power(effect: float, deviation: float, replicates: int, *, level: float = 0.95) -> float:
    """The probability that a two-sided paired t-test finds an effect.

    Args:
      effect: the true mean difference.
      deviation: the standard deviation of the difference over replicates.
      replicates: how many there are.
      level: one minus the test's error rate.

    Returns:
      From the non-central t distribution with replicates - 1 degrees of freedom and the non-centrality
      effect / (deviation / sqrt(replicates)); 0 with fewer than two replicates.
    """
    if replicates < 2:
        return 0.0
    if deviation == 0:
        return float(effect != 0)
    shift = abs(effect) / deviation * np.sqrt(replicates)
    bound = stats.t.ppf((1 + level) / 2, replicates - 1)
    found = stats.nct.sf(bound, replicates - 1, shift) + stats.nct.cdf(-bound, replicates - 1, shift)
    return 1.0 if np.isnan(found) else float(found)  # nct underflows to NaN where the effect is certain to be found


def replicates_needed(effect: float, deviation: float, *, wanted: float = 0.8, level: float = 0.95) -> int:
    """The fewest replicates that detect an effect with probability `wanted`; arguments as in `power`.

    Raises:
      ValueError: the effect is 0, or too small to be found with 100,000 replicates.
    """
    if effect == 0:
        raise ValueError("no number of replicates detects an effect of 0")
    low, high = 1, 2
    while power(effect, deviation, high, level=level) < wanted:
        low, high = high, 2 * high
        if high > _MOST_REPLICATES:
            raise ValueError(f"an effect of {effect} with a deviation of {deviation} needs over 100,000 replicates")
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if power(effect, deviation, middle, level=level) >= wanted else (middle, high)
    return high


def gain_split(
    method: np.ndarray, matched: np.ndarray, random: np.ndarray, *, level: float = 0.95
) -> dict[str, Interval]:
    """Splits a selection's gain over random into the part of its mixture and the part of its scores.

    Args:
      method: [R], results of the selection.
      matched: [R], of random samples with the selection's own counts in every source x style cell.
      random: [R], of uniformly random samples.
      level: of the intervals.

    Returns:
      `gain` = method - random, `mixture` = matched - random, `scores` = method - matched; the last two add up to the
      first.
    """
    return {
        "gain": paired_difference(method, random, level=level),
        "mixture": paired_difference(matched, random, level=level),
        "scores": paired_difference(method, matched, level=level),
    }
