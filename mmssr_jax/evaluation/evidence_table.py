"""Statistics over the cells of an experiment: differences paired by replicate, Holm's correction, shares, costs."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mmssr_jax.evaluation.break_even import SELECTION_STAGES, selection_cost
from mmssr_jax.evaluation.evidence_cells import ReplicateResults
from mmssr_jax.evaluation.replicates import Interval, gain_split, holm, paired_difference, t_interval

Results = Sequence[ReplicateResults]


@dataclasses.dataclass(frozen=True)
class ArmRow:
    """One arm compared with its baseline.

    Attributes:
      name: the cell.
      mean: over the replicates that have it.
      difference: from the baseline, paired by replicate; None of the baseline itself, or without a replicate in common.
      p_holm: adjusted over all rows but the primary one, for which it is None, as for a row without a p.
      over_full: 100 x the arm / the arm trained on everything, over replicates ("/FULL"); None where there is none.
      above: skills whose mean over replicates is above the baseline's (">Rand").
      rows: mean number of selected samples; None where nothing is selected.
      flawed: mean share of flawed samples in the selection.
    """

    name: str
    mean: float
    difference: Interval | None
    p_holm: float | None
    over_full: Interval | None
    above: int | None
    rows: float | None
    flawed: float | None


def common(results: Results, names: Sequence[str]) -> list[ReplicateResults]:
    """The replicates that have all these cells."""
    return [r for r in results if all(name in r.cells for name in names)]


def values(results: Results, name: str) -> np.ndarray:
    """float64 [R]: the cell's value in each of these replicates."""
    return np.array([r.cells[name].value for r in results], np.float64)


def difference(results: Results, first: str, second: str) -> Interval | None:
    """first - second, paired by replicate; None without a replicate that has both."""
    both = common(results, (first, second))
    return paired_difference(values(both, first), values(both, second)) if both else None


def split(results: Results, method: str, matched: str, random: str) -> dict[str, Interval] | None:
    """The gain of a method over random in two parts, `replicates.gain_split`; None without a common replicate."""
    names = (method, matched, random)
    shared = common(results, names)
    return gain_split(*(values(shared, name) for name in names)) if shared else None


def rows(
    results: Results, names: Sequence[str], *, baseline: Mapping[str, str], full: str, primary: str | None
) -> list[ArmRow]:
    """The rows of a table, in the order of `names`; an arm that no replicate has is left out.

    Args:
      results: of all replicates.
      names: the cells.
      baseline: cell -> the cell that it is compared with.
      full: the cell trained on everything.
      primary: the cell whose comparison is the primary endpoint, outside of Holm's family.
    """
    there = [name for name in names if common(results, [name])]
    gaps = {name: difference(results, name, baseline[name]) for name in there if baseline[name] != name}
    family = {name: gap.p for name, gap in gaps.items() if gap is not None and name != primary and not np.isnan(gap.p)}
    adjusted = holm(family)
    return [
        ArmRow(
            name,
            mean=float(values(common(results, [name]), name).mean()),
            difference=gaps.get(name),
            p_holm=adjusted.get(name),
            over_full=_over_full(results, name, full),
            above=_above(results, name, baseline[name]),
            rows=_mean([r.cells[name].rows for r in common(results, [name])]),
            flawed=_mean([r.cells[name].flawed for r in common(results, [name])]),
        )
        for name in there
    ]


def _mean(numbers: Sequence[float | None]) -> float | None:
    """Of those that are known."""
    known = [number for number in numbers if number is not None]
    return float(np.mean(known)) if known else None


def _over_full(results: Results, name: str, full: str) -> Interval | None:
    both = common(results, (name, full))
    return t_interval(100 * values(both, name) / values(both, full)) if both else None


def skills(results: Results, name: str) -> dict[str, float]:
    """Skill -> its mean over the replicates that have the cell."""
    own = [r.cells[name].skills for r in common(results, [name])]
    return {skill: float(np.mean([cell[skill] for cell in own])) for skill in (own[0] if own else {})}


def _above(results: Results, name: str, baseline: str) -> int | None:
    if name == baseline:
        return None
    both = common(results, (name, baseline))
    own, other = skills(both, name), skills(both, baseline)
    return sum(own[skill] > other[skill] for skill in own) if both else None


def costs(results: Results, names: Sequence[str], *, full: str) -> dict[str, Any] | None:
    """`break_even.selection_cost` with the mean seconds of the stages over replicates; None without the full arm.

    The stages of a cell are those of its variant, the part of the name before the slash.

    Args:
      results: of all replicates.
      names: the cells, all of one variant.
      full: the cell trained on everything.
    """
    shared = common(results, [*names, full])
    if not shared:
        return None
    variant = names[0].partition("/")[0]
    times = [r.stages.get(variant, {}) for r in shared]
    stages = {s: float(np.mean([t[s] for t in times])) for s in SELECTION_STAGES if all(s in t for t in times)}
    groups = {name: [f"{r.replicate} {name}" for r in shared] for name in (*names, full)}
    training = {
        f"{r.replicate} {name}": float(r.cells[name].seconds or 0.0)
        for r in shared
        for name in groups
        if r.cells[name].seconds is not None
    }
    needs = {name: tuple(shared[0].cells[name].needs) for name in names}
    return selection_cost(stages, training, groups=groups, needs=needs, full=full)
