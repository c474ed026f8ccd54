"""What each capability got of a selection, beside its fair share."""

from __future__ import annotations

import pyarrow as pa

from mmssr_jax.report.blocks import Bar, Bars, Block, Cell, Heat
from mmssr_jax.report.inputs import Inputs, value_counts
from mmssr_jax.report.numbers import count, fixed, in_order, percent, readable

_MAX_SELECTIONS = 12


def fair_share_blocks(inputs: Inputs) -> list[Block]:
    """Of one selection by capability its picks and fair shares as bars, of several their ratio as a matrix."""
    chosen = {n: t for n, t in inputs.selections.items() if t["capability"].null_count < t.num_rows}
    shares = {name: _picks_and_shares(inputs, name, picks) for name, picks in chosen.items()}
    if len(shares) == 1:
        ((name, table),) = shares.items()
        return [_bars(name, table)]
    return [_matrix(dict(list(shares.items())[:_MAX_SELECTIONS]))] if shares else []


def _picks_and_shares(inputs: Inputs, name: str, picks: pa.Table) -> dict[str, tuple[int, float]]:
    """Capability -> its picks, and the picks that it would have if all capabilities had enough candidates."""
    settings = inputs.selection_manifest(name)["config"].get("selection", {})
    counts = value_counts(picks["capability"])
    slugs = settings.get("capabilities") or in_order({*inputs.slugs, *counts})
    weights = {slug: float(settings.get("weights", {}).get(slug, 1)) for slug in slugs}
    total, weight = sum(counts.values()), sum(weights.values())
    return {slug: (counts.get(slug, 0), total * weights[slug] / weight) for slug in slugs if weights[slug] > 0}


def _bars(name: str, table: dict[str, tuple[int, float]]) -> Bars:
    longest = max(max(got, fair) for got, fair in table.values())
    rows = [
        Bar(readable(slug), [got / longest, fair / longest], f"{count(got)} of {fixed(fair, 1)}")
        for slug, (got, fair) in table.items()
    ]
    return Bars(rows, ["picks", "fair share"], title=f"What each capability got of {name}", note=_NOTE)


def _matrix(shares: dict[str, dict[str, tuple[int, float]]]) -> Heat:
    """A colour of one half is a fair share."""
    rows = []
    for slug in in_order({slug for table in shares.values() for slug in table}):
        cells = []
        for name, table in shares.items():
            got, fair = table.get(slug, (0, 0.0))
            hint = f"{name}: {count(got)} picks, fair share {fixed(fair, 1)}"
            cells.append(Cell(percent(got / fair, 0), min(got / fair / 2, 1.0), hint) if fair else Cell(""))
        rows.append((readable(slug), cells))
    title = "What each capability got, in per cent of its fair share"
    return Heat(list(shares), rows, corner="capability", title=title, note=_NOTE)


_NOTE = (
    "The fair share is that of the capability's weight. A capability gets less where too few samples exceed the "
    "threshold, or where the round that reaches the budget ends before its turn."
)
