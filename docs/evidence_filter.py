"""The section of docs/evidence.md on selections among the samples whose answers surprise least."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from configs import evidence
from docs.evidence_text import LABELS, wrapped
from docs.markdown import points, table
from mmssr_jax.evaluation.evidence_cells import ReplicateResults
from mmssr_jax.evaluation.evidence_table import common, difference
from mmssr_jax.report.numbers import fixed, percent


def filter_section(results: Sequence[ReplicateResults], missing: str) -> str:
    """Beside random and beside mmSSR without the filter, at every budget.

    Args:
      results: the replicates.
      missing: what stands here without results.
    """
    body = []
    for key, budget in evidence.BUDGETS.items():
        for method in evidence.FILTERED:
            name = f"ours/{method}-{key}"
            found = common(results, [name])
            if found:
                cells = [r.cells[name] for r in found]
                flawed = [c.flawed for c in cells if c.flawed is not None]
                gaps = [difference(results, name, f"ours/{other}-{key}") for other in ("random", "mmssr")]
                body.append((f"{100 * budget['ratio']:g} %", LABELS[method],
                             fixed(float(np.mean([c.value for c in cells])), 1), *map(points, gaps),
                             percent(float(np.mean(flawed)) if flawed else None), str(len(found))))  # fmt: skip
    if not body:
        return missing
    head = ("budget", "selection", "accuracy", "− random (95 %)", "− mmSSR, ours (95 %)", "flawed", "replicates")
    rule = [difference(results, f"ours/mmssr_unsurprising-{k}", f"ours/unsurprising-{k}") for k in evidence.BUDGETS]
    added = ", ".join(
        f"{points(gap)} at {100 * budget['ratio']:g} %"
        for gap, budget in zip(rule, evidence.BUDGETS.values(), strict=True)
        if gap is not None
    )
    clean = {LABELS[m]: difference(results, f"flaws_0/{m}-p10", "flaws_0/random-p10") for m in evidence.FILTERED}
    known = [f"{words} {points(gap)}" for words, gap in clean.items() if gap is not None]
    cost = f"In a pool without flaws, beside its random tenth: {', '.join(known)}." if known else ""
    share = 100 * evidence.UNSURPRISING["lowest"]["surprise"]
    text = [
        wrapped(
            "Added after the main comparison was known, and chosen on replicates 100 to 102, which are in no table; ",
            f"its intervals are not adjusted. Candidates are the {share:g} % of the pool whose answers are least ",
            "unlikely for their words: the logarithm of the answers' −log p under the scorer, less what a regression ",
            "on the n-grams of the pool's own texts predicts of it (`score.surprise`, `lowest`). It reads no ",
            "rating and runs no model again.",
        ),
        table(head, body),
        f"What mmSSR's rule adds to random within them: {added}.",
        cost,
    ]
    return "\n\n".join(part for part in text if part)
