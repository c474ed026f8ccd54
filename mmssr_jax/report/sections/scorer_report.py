"""The scorer's quality on held-out samples, compared with trivial predictors that use no image."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Literal

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
from mmssr_jax.report.numbers import count, fixed, format_interval, in_order, percent, readable, signed
from mmssr_jax.report.sections.calibrated_scores import calibration_blocks

NAMES = {
    "blind": "same scorer, blank image",
    "source_mean": "mean of the source",
    "source_style_mean": "mean of source × style",
    "ngram_ridge": "ridge on character n-grams",
}


def scorer_section(inputs: Inputs, config: ReportConfig) -> Section:
    """The scorer section."""
    title = "Scorer quality"
    report = inputs.results("scorer")
    if report is None:
        return Section("scorer", title, "", missing=["Not measured yet: the score stage writes results/scorer.json."])
    reference = "the generator's ground truth" if report["truth"] == "synthetic" else "the judge"
    interval = format_interval(report["concordance_interval"], 3)
    tone = _tone(report)
    note = f"95 %: {interval}" + ("; below trivial predictors" if tone == "bad" else "")
    facts = [
        KeyFigure("concordance", fixed(report["concordance"], 3), f"{note}; 0.5 is chance", tone),
        KeyFigure("top 10 % precision", percent(report["top_ratio"], 0), "relative to an oracle's top 10 %"),
        KeyFigure("quadratic kappa", fixed(report["quadratic_kappa"]), "of the rounded scores"),
        KeyFigure("mean abs. error", fixed(report["mae"]), "score points"),
    ]
    if "styles" in report:
        facts.append(KeyFigure("style macro-F1", fixed(report["styles"]["macro_f1"])))
    if "counterfactual" in report:
        note = "of image-dependent scores decrease with a wrong or blank image"
        facts.append(KeyFigure("decrease without the image", percent(report["counterfactual"]["fell"]), note))
    blocks: list[Block] = [
        KeyFigures(facts),
        *_alarms(report),
        _macro(report),
        *calibration_blocks(report),
        _by_capability(report),
        Fold("All metrics", [_details(report)]),
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
        f"Measured against {reference} on {count(report['n'])} held-out samples. Concordance: the probability that, of "
        "two samples with different reference scores, the better one has the higher score; mean over capabilities."
    )
    return Section("scorer", title, lead, blocks, headline=_headline(report), summary=_summary(report))


def _best(report: Mapping[str, Any]) -> Mapping[str, Any]:
    """The report of the calibrated scores, if there are any; the expected scores are not a trivial predictor."""
    if "calibrated" not in report:
        return report
    calibrated = report["calibrated"]
    return {**calibrated, "baselines": {n: b for n, b in calibrated["baselines"].items() if n != "raw"}}


def _headline(report: Mapping[str, Any]) -> KeyFigure:
    best = _best(report)
    notes = [
        *(["calibrated"] if "calibrated" in report else []),
        f"95 %: {format_interval(best['concordance_interval'], 3)}",
        *(["below trivial predictors"] if _tone(best) == "bad" else []),
    ]
    return KeyFigure("scorer concordance", fixed(best["concordance"], 3), "; ".join(notes), _tone(best))


def capabilities(report: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any]]]:
    """Slug and metrics of each capability, in the rubric's order."""
    return [(slug, report["capabilities"][slug]) for slug in in_order(report["capabilities"])]


def _predictors(report: Mapping[str, Any]) -> list[str]:
    """The trivial predictors, those of `NAMES` first."""
    known = list(NAMES)
    return sorted(report["baselines"], key=lambda n: (known.index(n) if n in known else len(known), n))


def _better_predictors(report: Mapping[str, Any]) -> list[str]:
    """The trivial predictors with a higher concordance than the scorer."""
    return [n for n in _predictors(report) if (report["baselines"][n]["gap"] or 0) < 0]


def _tone(report: Mapping[str, Any]) -> Literal["neutral", "good", "bad"]:
    """Bad below a trivial predictor; good if the interval of the gap to every one of them is above zero."""
    if _better_predictors(report):
        return "bad"
    intervals = [b["gap_interval"] for b in report["baselines"].values() if b["gap"] is not None]
    clear = bool(intervals) and all(low is not None and low > 0 for low, _ in intervals)
    return "good" if clear else "neutral"


def _summary(report: Mapping[str, Any]) -> list[Note]:
    """The conclusion in one sentence: the scorer against the best trivial predictor."""
    scorer, report = "scorer, calibrated," if "calibrated" in report else "scorer", _best(report)
    measured = {n: b for n, b in report["baselines"].items() if b["gap"] is not None}
    if not measured:
        return []
    best = min(measured, key=lambda n: measured[n]["gap"])
    rival = f"{NAMES.get(best, readable(best))}, {fixed(measured[best]['concordance'], 3)}"
    better = _better_predictors(report)
    if better:
        text = (
            f"The {scorer} ranks samples worse than {count(len(better))} of {count(len(measured))} trivial predictors: "
            f"concordance {fixed(report['concordance'], 3)}; the best trivial predictor is {rival}."
        )
        return [Note(text, "alarm")]
    interval = measured[best]["gap_interval"]
    certain = interval[0] is not None and interval[0] > 0
    text = (
        f"The {scorer} ranks samples {'better than' if certain else 'about as well as'} the best trivial predictor: "
        f"concordance {fixed(report['concordance'], 3)} against {rival}; lead {signed(measured[best]['gap'], 3)}, "
        f"95 %: {format_interval(interval, 3)}."
    )
    return [Note(text, "finding")]


def _alarms(report: Mapping[str, Any]) -> list[Block]:
    notes: list[Block] = []
    for slug in report["degenerate"]:
        reason = report["capabilities"][slug]["degenerate"]
        notes.append(
            Note(f"{readable(slug)}: the scores carry no information ({reason}); select rejects them.", "alarm")
        )
    better = _better_predictors(report)
    if better:
        named = "; ".join(f"{NAMES.get(n, readable(n))} ({signed(report['baselines'][n]['gap'], 3)})" for n in better)
        notes.append(Note(f"Trivial predictors that rank better than the scorer: {named}.", "alarm"))
    return notes


def _macro(report: Mapping[str, Any]) -> Table:
    rows = [("scorer", fixed(report["concordance"], 3), "", "")]
    for name in _predictors(report):
        b = report["baselines"][name]
        lead = format_interval(b["gap_interval"], 3)
        rows.append((NAMES.get(name, readable(name)), fixed(b["concordance"], 3), signed(b["gap"], 3), lead))
    return Table(
        ("predictor", "concordance", "scorer's lead", "95 % of the lead"), rows, numeric=(1, 2, 3), strong=(0,),
        title="Comparison with trivial predictors",
        note=f"Macro-average over the {report['measured']} capabilities in which samples differ. Trivial predictors "
        "are fitted on the same judged samples; the interval resamples the held-out samples.",
    )  # fmt: skip


def _by_capability(report: Mapping[str, Any]) -> Tracks:
    names = _predictors(report)
    every = [v["concordance"] for v in report["capabilities"].values()]
    every += [v for b in report["baselines"].values() for v in b["capabilities"].values()]
    low = math.floor(10 * min([0.5, *(v for v in every if v is not None)])) / 10

    def place(value: float) -> float:
        return (value - low) / (1 - low)

    rows = []
    for slug, v in capabilities(report):
        values = [(i + 1, report["baselines"][n]["capabilities"][slug]) for i, n in enumerate(names)]
        pairs = [*reversed([p for p in values if p[1] is not None])]
        if v["concordance"] is not None:
            pairs.append((0, v["concordance"]))
        dots = [Dot(i, place(x), fixed(x, 3)) for i, x in pairs]
        rows.append(Track(readable(slug), dots, f"{fixed(v['concordance'], 3)} · n {count(v['n'])}"))
    steps = round(10 * (1 - low))
    ticks = [(i / steps, f"{low + 0.1 * i:.1f}") for i in range(steps + 1)]
    series = ["scorer", *(NAMES.get(n, readable(n)) for n in names)]
    return Tracks(
        rows, series, ticks, title="Concordance by capability", note="0.5 is chance, 1 is the reference order."
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
        ("capability", "MAE", "bias", "kappa", "Spearman of ceiling", "top 10 % precision of oracle", "digit mass"),
        rows, numeric=(1, 2, 3, 4, 5, 6), title="All metrics",
        note="A continuous score cannot reach a Spearman of 1 against a reference with ties; the ceiling is that of a "
        "perfect score. Digit mass: the next-token probability of the digits 0–5.",
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
        ("image", "pairs", "decreased", "mean decrease"),
        [(k, count(v["pairs"]), percent(v["fell"]), fixed(v["mean_fall"])) for k, v in rows],
        numeric=(1, 2, 3), strong=(0,), title="Same text, another image",
        note="The mean score of the image-dependent capabilities should decrease when the image is replaced.",
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
        [str(i) for i in range(6)], rows, corner="rounded score", title="Mean reference score by rounded score",
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
    return Grid(
        tables, note="Rows: reference score; columns: rounded score; a deeper colour is a larger share of the row."
    )
