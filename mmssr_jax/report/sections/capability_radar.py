"""Results of groups of runs by category of a benchmark, and by benchmark, as radar charts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mmssr_jax.report.blocks import Block, Chart, Charts
from mmssr_jax.report.numbers import count, readable
from mmssr_jax.report.svg_charts import radar

_LEAST_AXES = 3
_MAX_AXES = 24
_MAX_CHARTS = 4
_MAX_SERIES = 5

Results = Mapping[str, Mapping[str, Any]]  # run -> benchmark -> result


def radar_blocks(runs: Results, groups: Mapping[str, Sequence[str]]) -> list[Block]:
    """One chart over the benchmarks and one over the categories of each, where there are three and more.

    Args:
      runs: the results of every run.
      groups: name -> its runs; the values are means over the runs. A group whose runs are not here is left out.
    """
    known = {name: [runs[r] for r in members] for name, members in groups.items() if all(r in runs for r in members)}
    known = {name: members for name, members in list(known.items())[:_MAX_SERIES] if members}
    if not known:
        return []
    members = [m for group in known.values() for m in group]
    charts = [_over_benchmarks(known, _common(members))]
    for benchmark in _common(members):
        charts.append(
            _over_categories(known, benchmark, _common([m[benchmark].get("categories", {}) for m in members]))
        )
    drawn = [c for c in charts if c is not None][:_MAX_CHARTS]
    note = "Means over the seeds, in per cent; the centre is zero. A few questions an axis leave wide intervals."
    return [Charts(drawn, list(known), title="By capability", note=note, size="full")] if drawn else []


def _common(members: Sequence[Mapping[str, Any]]) -> list[str]:
    """The keys that all have, in the order of the first."""
    return [key for key in members[0] if all(key in m for m in members)]


def _over_benchmarks(groups: Mapping[str, Sequence[Mapping[str, Any]]], benchmarks: Sequence[str]) -> Chart | None:
    shared = [b for b in benchmarks if all("percent" in m[b] for members in groups.values() for m in members)]
    if not _LEAST_AXES <= len(shared) <= _MAX_AXES:
        return None
    series = [np.array([np.mean([m[b]["percent"] for m in members]) for b in shared]) for members in groups.values()]
    return Chart("All benchmarks", radar(series, shared, label="Results by benchmark"))


def _over_categories(
    groups: Mapping[str, Sequence[Mapping[str, Any]]], benchmark: str, categories: Sequence[str]
) -> Chart | None:
    if not _LEAST_AXES <= len(categories) <= _MAX_AXES:
        return None
    found = {name: [m[benchmark]["categories"] for m in members] for name, members in groups.items()}
    series = [np.array([np.mean([m[c]["value"] for m in members]) for c in categories]) for members in found.values()]
    sizes = [next(iter(found.values()))[0][c]["n"] for c in categories]
    least, most = count(min(sizes)), count(max(sizes))
    note = f"{least if least == most else f'{least} to {most}'} questions an axis"
    svg = radar(series, [readable(c) for c in categories], label=f"Results on {benchmark} by category")
    return Chart(benchmark, svg, note)
