"""Expected and calibrated scores side by side, and how they rank flawed samples."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mmssr_jax.report.blocks import Block, Table
from mmssr_jax.report.numbers import NONE, count, fixed, format_interval, percent, readable, signed


def calibration_blocks(report: Mapping[str, Any]) -> list[Block]:
    """Tables of a scorer's report (`results/scorer.json`); none where it has neither a calibration nor known flaws."""
    kinds = {"expected scores": report}
    if "calibrated" in report:
        kinds["calibrated scores"] = report["calibrated"]
    return [*([_compared(kinds)] if len(kinds) > 1 else []), *([_flaws(kinds)] if "flaws" in report else [])]


def _compared(kinds: Mapping[str, Mapping[str, Any]]) -> Table:
    rows = []
    for name, r in kinds.items():
        lead = r["baselines"].get("raw")
        rows.append(
            (
                name, fixed(r["concordance"], 3), format_interval(r["concordance_interval"], 3),
                f"{signed(lead['gap'], 3)}; {format_interval(lead['gap_interval'], 3)}" if lead else NONE,
                fixed(r["mae"]), percent(r["top_ratio"], 0),
            )
        )  # fmt: skip
    return Table(
        ("scores", "concordance", "95 %", "lead over the expected; 95 %", "MAE", "top 10 % precision"), rows,
        numeric=(1, 2, 3, 4, 5), title="Expected and calibrated scores",
        note="Calibrated: from the expected scores, the answers' likelihood, the text, the length and the source to "
        "the judge's ratings; a judged sample's own rating is left out. Not part of mmSSR.",
    )  # fmt: skip


def _flaws(kinds: Mapping[str, Mapping[str, Any]]) -> Table:
    """P(unflawed above flawed) by kind of flaw, of each kind of scores and of the same scorer without images."""
    first = next(iter(kinds.values()))["flaws"]
    columns = {name: r["flaws"] for name, r in kinds.items()} | {"expected, blank images": first["blind"]}
    rows = [("any flaw", count(first["pairs"]), *(percent(f["unflawed_above"]) for f in columns.values()))]
    for flaw, found in first["by_flaw"].items():
        shown = (f["by_flaw"].get(flaw, {}).get("unflawed_above") for f in columns.values())
        rows.append((readable(flaw), count(found["pairs"]), *(percent(v) for v in shown)))
    return Table(
        ("flaw", "pairs", *columns), rows, numeric=tuple(range(1, 2 + len(columns))), strong=(0,),
        title="Unflawed samples above flawed ones",
        note="Pairs of samples of one question form, by their total score; 50 % is chance.",
    )  # fmt: skip
