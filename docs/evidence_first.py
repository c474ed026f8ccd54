"""The sections of docs/evidence.md on what selections consist of, and on the first comparison."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from configs import evidence
from docs.evidence_text import wrapped
from docs.markdown import points, table
from mmssr_jax.core import files
from mmssr_jax.evaluation.evidence_cells import read_results
from mmssr_jax.evaluation.evidence_table import difference, split
from mmssr_jax.report.numbers import fixed, percent

FIRST = "first"  # the folder of the first comparison's results
COMPOSITION = "composition.json"  # what benchmarks/composition.py writes, of both comparisons
FROM = int(evidence.SEEDS.partition("-")[0])  # the second comparison's first replicate


def composition_table(folder: Path, labels: Mapping[str, str], *, first: bool) -> str:
    """Means over replicates, of the selections that all have; empty where nothing is known.

    Args:
      folder: of the results; holds what benchmarks/composition.py wrote.
      labels: selection -> its name on the page, in the order of the rows.
      first: of the first comparison's replicates, not of the others.
    """
    path = folder / COMPOSITION
    known: dict[str, dict[str, dict[str, Any]]] = files.read_json(path) if path.exists() else {}
    replicates = {number: found for number, found in known.items() if (int(number) < FROM) == first}
    if not replicates:
        return ""
    body = []
    for name, words in labels.items():
        found = [one[name] for one in replicates.values() if name in one]
        if len(found) == len(replicates):
            empty = [one["empty"] for one in found if one["empty"] is not None]
            body.append((words, percent(_mean(found, "flawed")), fixed(float(np.mean(empty)), 1) if empty else "–",
                         fixed(_mean(found, "answers"), 1), fixed(_mean(found, "level"), 2)))  # fmt: skip
    head = ("selection, 10 %", "flawed", "capabilities without a sample", "answers a skill", "difficulty")
    return f"Replicates {', '.join(replicates)}.\n\n{table(head, body)}"


def _mean(found: Sequence[Mapping[str, Any]], key: str) -> float:
    return float(np.mean([one[key] for one in found]))


def first_section(folder: Path, labels: Mapping[str, str]) -> str:
    """The first comparison: its gains, and why it was lost; empty without results.

    Args:
      folder: of all results.
      labels: see `composition_table`.
    """
    results = read_results(folder / FIRST)
    body = []
    for key, budget in evidence.BUDGETS.items():
        parts = split(results, f"ours/mmssr-{key}", f"ours/matched-{key}", f"ours/random-{key}")
        if parts is not None:
            perfect = difference(results, f"ours/unflawed-{key}", f"ours/random-{key}")
            gains = [points(parts[n]) for n in ("gain", "mixture", "scores")]
            body.append((f"{100 * budget['ratio']:g} %", *gains, points(perfect)))
    if not body:
        return ""
    head = ("budget", "gain: mmSSR − random", "mixture", "scores", "unflawed − random")
    clean = difference(results, "flaws_0/mmssr-p10", "flaws_0/random-p10")
    text = [
        wrapped(
            "Before, on other replicates (0 to 4), mmSSR took of each capability the best calibrated scores, 1.5 ",
            "times its share of the budget, the best first. It lost at the primary endpoint:",
        ),
        table(head, body),
        wrapped(
            "Neither the scorer nor flaws were the cause: the truth in the scorer's place did no better, mmSSR had ",
            f"fewer flaws than random, and in a pool without flaws it lost more ({points(clean)}). Its selections say ",
            "what was:",
        ),
        composition_table(folder, labels, first=True),
        wrapped(
            "First, a fault of the program: scores that are equal at the top of the scale were not above their own ",
            "quantile, so that three or four of 14 capabilities chose nothing; ties are eligible now. Second, the ",
            "rule: the few best of a ",
            "capability are those that the scorer overrates most, and they are alike (29 of 38 picks of one ",
            "capability had the same answer). The paper's scores are integers, most of which are equal, so that its ",
            "rule leaves to chance what continuous scores decide. The second comparison draws at random among more; ",
            "its ablations have the first one's rule without the fault. The rule was changed on replicates 100 to ",
            "102, which are in no table.",
        ),
    ]
    return "\n\n".join(part for part in text if part)
