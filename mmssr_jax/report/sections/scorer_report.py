"""How good the scorer is on samples it never saw, beside predictors that look at no picture."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from mmssr_jax.report.blocks import (  # fmt: skip
    Block,
    Cell,
    Dot,
    Fold,
    Grid,
    Heat,
    KeyFigure,
    KeyFigures,
    Note,
    Section,
    Table,
    Track,
    Tracks,
)
from mmssr_jax.report.inputs import Inputs, ReportConfig
from mmssr_jax.report.numbers import count, fixed, in_order, percent, readable, signed, spread

NAMES = {
    "blind": "same scorer, picture blanked",
    "source_mean": "mean of the source",
    "source_style_mean": "mean of source × style",
    "ngram_ridge": "ridge on character n-grams",
}


def scorer_section(inputs: Inputs, config: ReportConfig) -> Section:
    """The section; see the module."""
    title = "Scorer quality"
    report = inputs.results("scorer")
    if report is None:
        return Section("scorer", title, "", missing=["Not measured yet: the score stage writes results/scorer.json."])
    against = "the generator's truth" if report["truth"] == "synthetic" else "the judge"
    interval = spread(report["concordance_interval"], 3)
    headline = KeyFigure("scorer concordance", fixed(report["concordance"], 3), f"95 %: {interval}")
    facts = [
        KeyFigure("concordance", fixed(report["concordance"], 3), f"95 %: {interval}; 0.5 is chance"),
        KeyFigure("top 10 % precision", percent(report["top_ratio"], 0), "of what an oracle's top 10 % would have"),
        KeyFigure("quadratic kappa", fixed(report["quadratic_kappa"]), "of the rounded scores"),
        KeyFigure("mean abs. error", fixed(report["mae"]), "score points"),
    ]
    if "styles" in report:
        facts.append(KeyFigure("style macro-F1", fixed(report["styles"]["macro_f1"])))
    if "counterfactual" in report:
        note = "seeing scores of pairs with a wrong or no picture"
        facts.append(KeyFigure("fall without the picture", percent(report["counterfactual"]["fell"]), note))
    blocks: list[Block] = [
        KeyFigures(facts),
        *_alarms(report),
        _macro(report),
        _by_capability(report),
        _details(report),
    ]
    grid: list[Block] = []
    if "styles" in report:
        grid.append(_styles(report["styles"]))
    if "counterfactual" in report:
        grid.append(_counterfactual(report["counterfactual"]))
    if grid:
        blocks.append(Grid(grid))
    blocks += [Fold("Calibration", [_calibration(report)]), Fold("Confusion of rounded scores", [_confusions(report)])]
    lead = (
        f"Measured against {against} on {count(report['n'])} samples that the scorer never saw. Concordance: the "
        "chance that of two samples that differ in truth the better one has the higher score; mean over capabilities."
    )
    return Section("scorer", title, lead, blocks, headline=headline)


def capabilities(report: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any]]]:
    """Slug and measures of each capability, in the rubric's order."""
    return [(slug, report["capabilities"][slug]) for slug in in_order(report["capabilities"])]


def _predictors(report: Mapping[str, Any]) -> list[str]:
    """The trivial predictors, the usual ones first."""
    known = list(NAMES)
    return sorted(report["baselines"], key=lambda n: (known.index(n) if n in known else len(known), n))


def _alarms(report: Mapping[str, Any]) -> list[Block]:
    notes: list[Block] = []
    for slug in report["degenerate"]:
        reason = report["capabilities"][slug]["degenerate"]
        notes.append(Note(f"{readable(slug)}: the scores mean nothing ({reason}); select refuses them.", "alarm"))
    better = [n for n in _predictors(report) if (report["baselines"][n]["gap"] or 0) < 0]
    if better:
        named = "; ".join(f"{NAMES.get(n, readable(n))} ({signed(report['baselines'][n]['gap'], 3)})" for n in better)
        notes.append(Note(f"Trivial predictors that order better than the scorer: {named}.", "alarm"))
    return notes


def _macro(report: Mapping[str, Any]) -> Table:
    rows = [("scorer", fixed(report["concordance"], 3), "", "")]
    for name in _predictors(report):
        b = report["baselines"][name]
        lead = spread(b["gap_interval"], 3)
        rows.append((NAMES.get(name, readable(name)), fixed(b["concordance"], 3), signed(b["gap"], 3), lead))
    return Table(
        ("predictor", "concordance", "scorer's lead", "95 % of the lead"), rows, numeric=(1, 2, 3), strong=(0,),
        title="Beside trivial predictors",
        note=f"Macro-average of the {report['measured']} capabilities in which samples differ. The trivial predictors "
        "are fitted on the same judged samples; the interval resamples the held-out ones.",
    )  # fmt: skip


def _by_capability(report: Mapping[str, Any]) -> Tracks:
    names = _predictors(report)
    values = [v["concordance"] for v in report["capabilities"].values()]
    values += [v for b in report["baselines"].values() for v in b["capabilities"].values()]
    low = math.floor(10 * min([0.5, *(v for v in values if v is not None)])) / 10

    def place(value: float) -> float:
        return (value - low) / (1 - low)

    rows = []
    for slug, v in capabilities(report):
        seen = [(i + 1, report["baselines"][n]["capabilities"][slug]) for i, n in enumerate(names)]
        pairs = [*reversed([p for p in seen if p[1] is not None])]
        if v["concordance"] is not None:
            pairs.append((0, v["concordance"]))
        dots = [Dot(i, place(x), fixed(x, 3)) for i, x in pairs]
        rows.append(Track(readable(slug), dots, f"{fixed(v['concordance'], 3)} · n {count(v['n'])}"))
    steps = round(10 * (1 - low))
    ticks = [(i / steps, f"{low + 0.1 * i:.1f}") for i in range(steps + 1)]
    series = ["scorer", *(NAMES.get(n, readable(n)) for n in names)]
    return Tracks(
        rows, series, ticks, title="Concordance by capability", note="0.5 is chance, 1 is the order of truth."
    )


def _details(report: Mapping[str, Any]) -> Table:
    rows = []
    for slug, v in capabilities(report):
        if not v["n"]:
            rows.append((readable(slug), *["–"] * 6))
            continue
        rank = v["spearman"]
        rows.append(
            (
                readable(slug), fixed(v["mae"]), signed(v["bias"]), fixed(v["quadratic_kappa"]),
                f"{fixed(rank['value'])} of {fixed(rank['ceiling'])}",
                f"{fixed(v['top']['precision'])} of {fixed(v['top']['oracle'])}", percent(v.get("digit_mass")),
            )
        )  # fmt: skip
    return Table(
        ("capability", "MAE", "bias", "kappa", "Spearman of its ceiling", "top 10 % precision of oracle", "digit mass"),
        rows, numeric=(1, 2, 3, 4, 5, 6), title="Every measure",
        note="A continuous score cannot reach a Spearman of 1 against a truth full of ties; the ceiling is what a "
        "perfect one reaches. Digit mass: how much of the next-token probability the digits 0–5 hold.",
    )  # fmt: skip


def _styles(styles: Mapping[str, Any]) -> Table:
    rows = [
        (name, count(s["support"]), fixed(s["precision"]), fixed(s["recall"]), fixed(s["f1"]))
        for name, s in sorted(styles["styles"].items(), key=lambda p: (-p[1]["support"], p[0]))
    ]
    rows.append(("macro", count(styles["n"]), "", "", fixed(styles["macro_f1"])))
    return Table(
        ("style", "n", "precision", "recall", "F1"), rows, numeric=(1, 2, 3, 4), strong=(len(rows) - 1,), title="Styles"
    )


def _counterfactual(result: Mapping[str, Any]) -> Table:
    rows = [("all", result), *result["by_kind"].items()]
    return Table(
        ("picture", "pairs", "fell", "mean fall"),
        [(k, count(v["pairs"]), percent(v["fell"]), fixed(v["mean_fall"])) for k, v in rows],
        numeric=(1, 2, 3), strong=(0,), title="Same text, another picture",
        note="The mean of the seeing capabilities must fall when the picture is not the sample's own.",
    )  # fmt: skip


def _calibration(report: Mapping[str, Any]) -> Heat:
    rows = []
    for slug, v in capabilities(report):
        by_score = {row["score"]: row for row in v.get("calibration", ())}
        cells = []
        for score in range(6):
            row = by_score.get(score)
            hint = f"{row['n']} samples" if row else ""
            cells.append(Cell(fixed(row["mean_truth"], 1), row["mean_truth"] / 5, hint) if row else Cell(""))
        rows.append((readable(slug), cells))
    return Heat(
        [str(i) for i in range(6)], rows, corner="rounded score", title="Mean truth of samples by rounded score",
        note="A calibrated scorer reads 0 1 2 3 4 5 from left to right.",
    )  # fmt: skip


def _confusions(report: Mapping[str, Any]) -> Grid:
    tables = []
    for slug, v in capabilities(report):
        if not v["n"]:
            continue
        rows = []
        for truth, counts in enumerate(v["confusion"]):
            total = sum(counts)
            cells = [Cell(count(n) if n else "", (n / total) ** 0.5 if n else None) for n in counts]
            rows.append((str(truth), cells))
        columns = [str(i) for i in range(6)]
        tables.append(Heat(columns, rows, corner="", title=readable(slug), small=True))
    return Grid(tables, note="Rows: truth; columns: rounded score; deeper means a larger share of the row.")
