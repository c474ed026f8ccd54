"""Writes docs/evidence.md and its figures from the committed results; tests/test_evidence_page.py rebuilds the page.

    python docs/make_evidence.py
    python notebooks/execute.py notebooks/evidence.ipynb      # the same figures in the notebook

Every number of the page that was measured comes from docs/evidence/FAMILY/REPLICATE.json, which benchmarks/evidence.py
writes, and from docs/evidence/ladder.json, a copy of what benchmarks/ladder.py writes. A section whose results are not
there says so, and how to get them.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

DOCS = Path(__file__).resolve().parent
sys.path.insert(0, str(DOCS.parent))

from configs import evidence  # noqa: E402
from docs import markdown  # noqa: E402
from docs.evidence_figures import budget_curves, radar_figure  # noqa: E402
from docs.evidence_filter import filter_section  # noqa: E402
from docs.evidence_first import FIRST, composition_table, first_section  # noqa: E402
from docs.evidence_text import DESIGN, HEAD, LABELS, LIMITS, QUESTION, gpu_costs, plan_table  # noqa: E402
from docs.markdown import points, table  # noqa: E402
from mmssr_jax.core import files  # noqa: E402
from mmssr_jax.evaluation import ladder  # noqa: E402
from mmssr_jax.evaluation.evidence_cells import ReplicateResults, read_results  # noqa: E402
from mmssr_jax.evaluation.evidence_table import common, costs, difference, rows, skills, split  # noqa: E402
from mmssr_jax.report.numbers import count, fixed, percent  # noqa: E402

PAGE, RESULTS = DOCS / "evidence.md", DOCS / "evidence"
METHOD, RANDOM = str(evidence.PRIMARY["method"]), str(evidence.PRIMARY["baseline"])
FULL, BASE = "ours/full", "ours/base"
FIRST_SELECTIONS = {name: name.removesuffix("-p10") for name in ("random-p10", "matched-p10")}
FIRST_SELECTIONS |= {"mmssr-p10": "mmSSR", "unflawed-p10": "unflawed"}
SELECTIONS = {
    "random-p10": "random", "matched-p10": "matched", "few_best-p10": "mmSSR, few, the best first",
    "best_first-p10": "mmSSR, the best first", "mmssr-p10": "mmSSR, ours", "unflawed-p10": "unflawed",
    "oracle-p10": "oracle",
}  # fmt: skip
Results = Sequence[ReplicateResults]


def command(family: str) -> str:
    """The command that runs a family."""
    return f"python benchmarks/evidence.py --workdir=runs/evidence --seeds={evidence.SEEDS} --family={family}"


def not_run(family: str) -> str:
    """What a section without results says."""
    return markdown.not_run(command(family), "make_evidence.py")


def label(name: str) -> str:
    """A cell's method in words; in brackets what else it is."""
    variant, _, arm = name.partition("/")
    method = arm.split("-")[0]
    key = f"{variant}/{method}" if f"{variant}/{method}" in LABELS else method
    return LABELS.get(key, method)


def replicate_numbers(results: Results, names: Sequence[str]) -> str:
    """Which replicates have all these cells."""
    return ", ".join(str(r.replicate) for r in common(results, names))


def hurry(results: Results) -> str:
    """The paragraph for a reader in a hurry."""
    budget = METHOD.partition("-")[2]
    parts = split(results, METHOD, f"ours/matched-{budget}", RANDOM)
    cost = costs(results, [METHOD, RANDOM], full=FULL)
    if parts is None or cost is None:
        return f"**In a hurry.** {not_run('main')}"
    gain, entry = parts["gain"], cost["groups"][METHOD]
    above = "wholly above zero" if gain.low > 0 else "wholly below zero" if gain.high < 0 else "not apart from zero"
    runs = entry["break_even_runs"]
    saves = "it saves nothing"
    if runs is not None:
        saves = f"that is cheaper than training on everything from {fixed(runs, 1)} trainings on"
    return (
        f"**In a hurry.** With a tenth of the samples mmSSR's model is {points(gain)} points from the random tenth's, "
        f"{gain.replicates} replicates, 95 % interval {above}. Of that the mixture of sources and styles makes "
        f"{points(parts['mixture'])} and the scores make {points(parts['scores'])}. Selecting took "
        f"{fixed(entry['selection_seconds'], 0)} s and training {fixed(entry['training_seconds'], 0)} s, together "
        f"{percent(entry['share_of_full'])} of one training on everything; "
        f"{saves}; a random selection of this size costs {percent(cost['groups'][RANDOM]['share_of_full'])} of it."
    )


def ladder_section(folder: Path) -> str:
    """The rungs, from the copy of the ladder's results."""
    path = folder / "ladder.json"
    if not path.exists():
        return (
            "No results are committed: `python benchmarks/ladder.py --workdir=runs/ladder`, then copy "
            "`runs/ladder/ladder.json` to `docs/evidence/ladder.json`."
        )
    saved = files.read_json(path)
    body = [
        (one.rung.name, points(one.difference), fixed(one.rung.bound, 0), "yes" if one.holds else "no",
         fixed(one.power, 2))
        for one in ladder.climb(saved["values"])
    ]  # fmt: skip
    head = ("rung", "points (95 %)", "bound", "holds", "power")
    return f"Config `{saved['config']}`, seeds {', '.join(saved['seeds'])}.\n\n{table(head, body)}"


def main_cells(budget: str) -> list[str]:
    """The ten methods at a budget."""
    own = [f"ours/{method}-{budget}" for method in evidence.TEN]
    place = own.index(f"ours/mmssr-{budget}")
    return [*own[:place], f"paper/expected-{budget}", *own[place:]]


def main_names() -> list[str]:
    """Every cell of the main table."""
    return [BASE, *(name for budget in evidence.BUDGETS for name in main_cells(budget)), FULL]


def baselines(names: Sequence[str]) -> dict[str, str]:
    """Cell -> random of the same budget and start; of those without a selection, the primary baseline."""
    found = {}
    for name in names:
        arm = evidence.Arm(*name.partition("/")[2].split("-"))
        rest = name.partition("-")[2]
        found[name] = f"ours/random-{rest}" if arm.selects else RANDOM
    return found


def main_section(results: Results) -> str:
    """The table, by budget."""
    names = main_names()
    made = {row.name: row for row in rows(results, names, baseline=baselines(names), full=FULL, primary=METHOD)}
    seen = {name: len(common(results, [name])) for name in made}
    if not made:
        return not_run("main")
    hashes = sorted({r.configs["main"] for r in results if "main" in r.configs})
    head = ("selection", "accuracy", "− random (95 %)", "p (Holm)", "/FULL", ">Rand", "rows", "flawed")
    text = [
        f"Config `{'`, `'.join(hashes)}`, replicates {replicate_numbers(results, [max(seen, key=seen.__getitem__)])}; "
        f"primary endpoint: {points(made[METHOD].difference if METHOD in made else None)}, not adjusted."
    ]
    groups = {"Start and whole pool": [BASE, FULL]}
    groups |= {f"{100 * b['ratio']:g} %": main_cells(key) for key, b in evidence.BUDGETS.items()}
    for title, members in groups.items():
        body = []
        for name in members:
            if name in made:
                row = made[name]
                p = "primary" if name == METHOD else fixed(row.p_holm, 3)
                full = "–" if row.over_full is None else fixed(row.over_full.mean, 1)
                above = "–" if row.above is None else f"{row.above} of {len(skills(results, name))}"
                few = "" if seen[name] == max(seen.values()) else f" ({seen[name]} of {max(seen.values())} replicates)"
                words = f"{label(name)}{few}"
                body.append((words, fixed(row.mean, 1), points(row.difference), p, full, above, count(row.rows),
                             percent(row.flawed)))  # fmt: skip
        text.append(f"**{title}**\n\n{table(head, body)}")
    return "\n\n".join(text)


def split_section(results: Results) -> str:
    """Gain, mixture and scores at every budget."""
    body = []
    for key, budget in evidence.BUDGETS.items():
        parts = split(results, f"ours/mmssr-{key}", f"ours/matched-{key}", f"ours/random-{key}")
        if parts is not None:
            body.append((f"{100 * budget['ratio']:g} %", *(points(parts[n]) for n in ("gain", "mixture", "scores"))))
    head = ("budget", "gain: mmSSR − random", "mixture: matched − random", "scores: mmSSR − matched")
    return table(head, body) if body else not_run("main")


def cost_section(results: Results) -> str:
    """Seconds, share of a full training, break-even."""
    names = [f"ours/{method}-{key}" for key in evidence.BUDGETS for method in ("random", "mmssr")]
    found = costs(results, names, full=FULL)
    if found is None:
        return not_run("main")
    stages = ", ".join(f"{stage} {fixed(seconds, 0)} s" for stage, seconds in found["stages"].items() if seconds)
    body = []
    for name in names:
        entry = found["groups"][name]
        body.append((f"{label(name)}, {name.partition('-')[2]}", fixed(entry["selection_seconds"], 0),
                     fixed(entry["training_seconds"], 0), percent(entry["share_of_full"]),
                     fixed(entry["break_even_runs"], 1)))  # fmt: skip
    full = fixed(found["groups"][FULL]["training_seconds"], 0)
    head = ("selection", "selecting, s", "training, s", "both / FULL", "cheaper than FULL after trainings")
    return f"Means over replicates: {stages}; training on everything {full} s.\n\n{table(head, body)}"


def compared(results: Results, pairs: Mapping[str, tuple[str, str]], family: str, *, head: str) -> str:
    """A table of cells, each beside another one: words -> (cell, the other); below it, which have no results."""
    body, missing = [], []
    for words, (name, other) in pairs.items():
        gap = difference(results, name, other)
        if gap is None:
            missing.append(words)
        else:
            mean = float(np.mean([r.cells[name].value for r in common(results, [name])]))
            flawed = rows(results, [name], baseline={name: name}, full=FULL, primary=None)[0].flawed
            body.append((words, fixed(mean, 1), points(gap), percent(flawed), str(gap.replicates)))
    if not body:
        return not_run(family)
    made = table(("what", "accuracy", head, "flawed", "replicates"), body)
    if not missing:
        return made
    return f"{made}\n\nNot run yet ({len(missing)}): {'; '.join(missing)}; `{command(family)}`."


def tokens_section(results: Results) -> str:
    """Equal tokens."""
    methods = [m for m in evidence.TEN if m not in ("random", *evidence.TRUTH)]
    names = [*(f"ours/{m}-tokens" for m in methods), "paper/expected-tokens"]
    pairs = {label(name): (name, "ours/random-tokens") for name in names}
    return compared(results, pairs, "equal_tokens", head="− random (95 %)")


def flaw_free_section(results: Results) -> str:
    """The pool without flaws."""
    names = [f"flaws_0/{m}-p10" for m in evidence.TEN if m not in ("random", "unflawed")]
    pairs = {label(name): (name, "flaws_0/random-p10") for name in names}
    return compared(results, pairs, "flaw_free", head="− random (95 %)")


def ablation_section(results: Results) -> str:
    """Each change beside mmSSR as it is, and pools of other kinds beside their own random tenth."""
    changed = {
        LABELS[f"ablation {name}"]: (name, METHOD)
        for name in (
            "paper/expected-p10", "paper/arg_max-p10", "paper/mmssr-p10", "not_kept/expected-p10",
            "not_kept/mmssr-p10", "cross_entropy/mmssr-p10", "ours/expected-p10", "ours/likelihood-p10",
            "judged_100/mmssr-p10", "judged_300/mmssr-p10", "judged_3000/mmssr-p10", "noise_0/mmssr-p10",
            "noise_2/mmssr-p10", "ours/sources-p10", "ours/styles-p10",
            "ours/ungrouped-p10", "ours/placebo-p10", "ours/ocr-p10", "ours/best_first-p10", "ours/few_best-p10",
            "ours/few-p10", "ours/best_tenth-p10", "ours/rated_3-p10",
        )
    }  # fmt: skip
    pools = {
        LABELS[f"pool {variant}"]: (f"{variant}/mmssr-p10", f"{variant}/random-p10")
        for variant in ("flaws_0", "flaws_10", "ours", "flaws_50", "pool_half")
    }
    changed_text = compared(results, changed, "ablations", head="− mmSSR, ours (95 %)")
    return f"{changed_text}\n\nPools of other kinds, mmSSR beside the random tenth of the same pool:\n\n" + compared(
        results, pools, "ablations", head="− random (95 %)"
    )


def scorer_section(results: Results) -> str:
    """How well each scorer ranks samples that no judge saw; means over replicates."""
    body = []
    for variant in evidence.VARIANTS:
        found = [r.scorers[variant] for r in results if variant in r.scorers]
        if found:
            keys = ("concordance", "concordance_calibrated", "concordance_ngrams", "concordance_blind",
                    "unflawed_above", "unflawed_above_calibrated")  # fmt: skip
            numbers = []
            for key in keys:
                known = [s[key] for s in found if s.get(key) is not None]
                numbers.append(fixed(float(np.mean(known)), 3) if known else "–")
            body.append((variant, *numbers, str(len(found))))
    head = ("variant", "concordance", "calibrated", "n-gram ridge", "blank images", "unflawed above", "calibrated",
            "replicates")  # fmt: skip
    return table(head, body) if body else not_run("main")


def transfer_section(results: Results) -> str:
    """Another model, another pool, a capability added, a capability asked for."""
    start = evidence.OTHER_START
    sizes = {
        f"{label(f'ours/{m}')}, trained from {start}": (f"ours/{m}-p10-{start}", f"ours/random-p10-{start}")
        for m in ("mmssr",)
    }
    text = [f"**Another model**\n\n{compared(results, sizes, 'transfer', head=f'− random from {start} (95 %)')}"]
    grown = {"13 capabilities, one added by a scorer of its own": ("thirteen/grown-p10", "ours/expected-p10")}
    added = compared(results, grown, "transfer", head="− all 14 of one scorer (95 %)")
    text.append(f"**A capability added**\n\n{added}")
    asked = common(results, ["ours/ocr-p10", METHOD, RANDOM])
    if asked:
        body = [(label(name), fixed(skills(asked, name)[evidence.OCR], 1)) for name in ("ours/ocr-p10", METHOD, RANDOM)]
        text.append(f"Asked for OCR alone, accuracy on OCR:\n\n{table(('selection', 'OCR'), body)}")
    else:
        text.append(f"Asked for OCR alone: {not_run('ablations')}")
    return "\n\n".join(text)


def rivals_section(results: Results, ours: Results) -> str:
    """The published methods.

    Args:
      results: of both comparisons; no rule of mmSSR touches these cells.
      ours: of this one, for mmSSR's row.
    """
    pairs = {name: (f"ours/{name}-p10", RANDOM) for name in evidence.rivals()}
    if not any(common(results, [f"ours/{name}-p10"]) for name in evidence.rivals()):
        return not_run("rivals")
    beside = compared(ours, {"mmSSR, ours": (METHOD, RANDOM)}, "main", head="− random (95 %)")
    return f"{compared(results, pairs, 'rivals', head='− random (95 %)')}\n\nBeside them, mmSSR:\n\n{beside}"


def diagnosis_section(results: Results) -> str:
    """Where the gain is lost, if the primary endpoint's interval is not wholly above zero."""
    gap = difference(results, METHOD, RANDOM)
    if gap is None:
        return not_run("main")
    if gap.low > 0:
        return "Not needed: the interval of the primary endpoint is wholly above zero."
    asked = {
        "the scorer: the truth in its place (oracle − mmSSR)": ("ours/oracle-p10", METHOD),
        "the rule: the truth without groups (oracle_top − oracle)": ("ours/oracle_top-p10", "ours/oracle-p10"),
        "the rule with a perfect scorer (oracle − random)": ("ours/oracle-p10", RANDOM),
        "the rule: evening out where nothing is flawed (oracle − unflawed)": ("ours/oracle-p10", "ours/unflawed-p10"),
        "the training: twice the steps (mmSSR − random)": ("ours/mmssr-p10-base-2", "ours/random-p10-base-2"),
        "the world: is it learnable (full − start)": (FULL, BASE),
        "the world: do flaws cost something here (unflawed − random)": ("ours/unflawed-p10", RANDOM),
        "the world: a pool without flaws (its random tenth − random)": ("flaws_0/random-p10", RANDOM),
    }
    body = []
    for words, (first, second) in asked.items():
        found = difference(results, first, second)
        body.append((words, "not run" if found is None else points(found)))
    return table(("is it", "points (95 %)"), body)


def figures(results: Results) -> dict[str, str]:
    """File name -> SVG; none without results."""
    made = {}
    methods = ("random", "matched", "mmssr", "oracle", "unflawed")
    sizes = [100 * budget["ratio"] for budget in evidence.BUDGETS.values()]
    curves = {}
    for method in methods:
        cells = [f"ours/{method}-{key}" for key in evidence.BUDGETS]
        shared = common(results, cells)
        if shared:
            curves[label(cells[0])] = [float(np.mean([r.cells[c].value for r in shared])) for c in cells]
    if curves:
        made["budgets.svg"] = budget_curves(sizes, curves)
    wheel = {label(name): skills(results, name) for name in (RANDOM, METHOD, FULL) if common(results, [name])}
    if len(wheel) == 3:
        made["skills.svg"] = radar_figure(wheel)
    return made


def figure_section(results: Results) -> str:
    """The figures."""
    titles = {"budgets.svg": "Accuracy by budget, per cent of the pool", "skills.svg": "Accuracy by skill, 10 %"}
    made = [f"![{titles[name]}](evidence/{name})\n\n{titles[name]}." for name in figures(results)]
    return "\n\n".join(made) or not_run("main")


def generate(folder: Path = RESULTS) -> str:
    """The page from the results in a folder."""
    results = read_results(folder)
    sections = {
        "Question": QUESTION, "Design": DESIGN, "The ladder": ladder_section(folder),
        "The table": main_section(results), "Mixture and scores": split_section(results),
        "Figures": figure_section(results), "Cost and break-even": cost_section(results),
        "What the selections consist of": composition_table(folder, SELECTIONS, first=False),
        "Diagnosis": diagnosis_section(results), "A filter by surprise": filter_section(results, not_run("filter")),
        "The first comparison": first_section(folder, FIRST_SELECTIONS), "The scorers": scorer_section(results),
        "Equal tokens": tokens_section(results), "A pool without flaws": flaw_free_section(results),
        "Ablations": ablation_section(results), "Transfer": transfer_section(results),
        "Rivals": rivals_section([*read_results(folder / FIRST), *results], results),
        "Commands and costs": plan_table(), "The same on GPUs": gpu_costs(), "What this does not show": LIMITS,
    }  # fmt: skip
    body = "\n\n".join(f"## {title}\n\n{text}" for title, text in sections.items() if text)
    return f"{HEAD}\n{hurry(results)}\n\n{body}\n"


def main() -> None:
    """Writes the page and its figures."""
    files.write_text(PAGE, generate())
    for name, svg in figures(read_results(RESULTS)).items():
        files.write_text(RESULTS / name, svg)


if __name__ == "__main__":
    main()
