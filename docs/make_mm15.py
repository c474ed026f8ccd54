"""Writes docs/mm15.md from the committed results in docs/mm15/; tests/test_mm15_page.py rebuilds the page.

    python docs/make_mm15.py

Every number that was measured comes from docs/mm15/FAMILY/SEED.json, which benchmarks/mm15.py writes. A table whose
results are not there says so, and how to get them.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

DOCS = Path(__file__).resolve().parent
sys.path.insert(0, str(DOCS.parent))

from configs.mm15_tiny import STEPS  # noqa: E402
from docs import markdown  # noqa: E402
from docs.markdown import points, table  # noqa: E402
from docs.mm15_text import ABLATIONS, HEAD, LEARNED, LIMITS, PAPER, SKILLS, VARIANTS  # noqa: E402
from mmssr_jax.core import files  # noqa: E402
from mmssr_jax.evaluation.replicates import Interval, paired_difference  # noqa: E402
from mmssr_jax.report.numbers import fixed, signed  # noqa: E402

PAGE, RESULTS = DOCS / "mm15.md", DOCS / "mm15"
Results = Sequence[Mapping[str, Any]]


def read_family(folder: Path, family: str) -> list[dict[str, Any]]:
    """The results of all seeds of a family, by seed.

    Raises:
      ValueError: they are of different scales.
    """
    paths = sorted((folder / family).glob("*.json"), key=lambda path: int(path.stem))
    results = [files.read_json_object(path) for path in paths]
    if len({result["scale"] for result in results}) > 1:
        raise ValueError(f"{folder / family}: results of different scales")
    return results


def made(results: Results) -> str:
    """The line above a table: seeds, and the length of the trainings."""
    scale = results[0]["scale"]
    seeds = ", ".join(str(result["seed"]) for result in results)
    steps = STEPS[scale]
    text, pictures, boxes, sft = (f"{steps[name]:,}" for name in ("language", "pretrain", "boxes", "sft"))
    lengths = f"{text} steps on text, {pictures} of pre-training, {boxes} on single boxes, {sft} of SFT"
    return f"{'Seeds' if len(results) > 1 else 'Seed'} {seeds}; {lengths} ({scale})."


def not_run(family: str) -> str:
    """What stands in place of a table without results."""
    seeds = "0" if family in ("variants", "scratch") else "0-2"
    command = f"python benchmarks/mm15.py --workdir=runs/mm15 --seeds={seeds} --family={family}"
    return markdown.not_run(command, "make_mm15.py")


def of_arm(results: Results, arm: str, measure: str) -> np.ndarray:
    """A measure of an arm, one number a seed."""
    return np.array([result["arms"][arm][measure] for result in results])


def skill_rows(results: Results) -> list[list[str]]:
    """Each skill beside what needs no skill, and its gain over the best of that."""
    rows = []
    for name, (label, measure) in SKILLS.items():
        floors = {key: np.array([r["floors"][name].get(key, np.nan) for r in results]) for key in LEARNED}
        best = np.nanmax(np.array(list(floors.values())), axis=0)
        own = of_arm(results, "recipe", name)
        means = [fixed(float(values.mean()), 1) for values in (own, *floors.values())]
        reader = results[0]["floors"][name].get("reader")
        stricter = "–" if reader is None else fixed(reader, 1)
        rows.append([label, measure, *means, points(paired_difference(own, best)), stricter])
    return rows


def verdict(interval: Interval, direction: float) -> str:
    """Whether the difference has the paper's sign, as far as its interval tells."""
    if not (interval.low > 0 or interval.high < 0):
        return "cannot tell"
    return "agrees" if np.sign(interval.mean) == np.sign(direction) else "disagrees"


def ablation_rows(results: Results) -> list[list[str]]:
    """Each change of the recipe with the paper's difference beside ours."""
    rows = []
    for (arm, measure), (paper, source) in PAPER.items():
        gained = paired_difference(of_arm(results, arm, measure), of_arm(results, "recipe", measure))
        known = [ABLATIONS[arm], measure.replace("_", " "), points(gained), signed(paper, 1), source]
        rows.append([*known, verdict(gained, paper)])
    return rows


def variant_rows(results: Results) -> list[list[str]]:
    """Every variant that was run whole, once: its last seed."""
    measures = ("one_image", "refer_ground", "several_pictures", "average")
    found = {arm: values for result in results for arm, values in result["arms"].items()}
    arms = sorted(found, key=lambda arm: (arm != "recipe", arm))
    return [[f"`{arm}`", *(fixed(found[arm][m], 1) for m in measures), VARIANTS.get(arm, "")] for arm in arms]


def skill_table(results: Results) -> str:
    """The table of skills, which the README has as well."""
    if not results:
        return not_run("skills")
    head = ["skill", "measure", "model", *LEARNED.values(), "gain over the best of these in each seed", "guesses which"]
    return f"{made(results)}\n\n{table(head, skill_rows(results))}"


def generate(folder: Path = RESULTS) -> str:
    """The page."""
    skills, ablations = read_family(folder, "skills"), read_family(folder, "ablations")
    variants, scratch = read_family(folder, "variants"), read_family(folder, "scratch")
    ablated, varied = not_run("ablations"), not_run("variants")
    if ablations:
        head = ["change", "measure", "ours", "paper's", "of", ""]
        ablated = f"{made(ablations)}\n\n{table(head, ablation_rows(ablations))}"
    if variants:
        head = ["variant", "one image", "refer and ground", "several pictures", "average", "what it is"]
        varied = f"{made(variants)}\n\n{table(head, variant_rows([*variants, *scratch]))}"
    if not scratch:
        varied += f"\n\nFrom random weights: {not_run('scratch')}"
    parts = [HEAD, "## Skills", skill_table(skills), "## The paper's ablations", ablated, "## Variants", varied, LIMITS]
    return "\n\n".join(part.strip() for part in parts) + "\n"


if __name__ == "__main__":
    files.write_text(PAGE, generate())
