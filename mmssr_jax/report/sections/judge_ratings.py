"""The judge's ratings: their number, distribution and cost, and the agreement of repeated ratings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from mmssr_jax.core import files, tables
from mmssr_jax.core.sample import Sample
from mmssr_jax.report.blocks import (
    Block,
    Card,
    Cards,
    Cell,
    Fold,
    Grid,
    Heat,
    KeyFigure,
    KeyFigures,
    Note,
    Section,
    Table,
)
from mmssr_jax.report.inputs import Inputs, ReportConfig
from mmssr_jax.report.numbers import count, fixed, in_order, percent, readable
from mmssr_jax.report.sections.gallery import GallerySample, sample_card
from mmssr_jax.report.sections.pool_overview import share_bars

MAX_DISAGREEMENTS = 8
_FAIR, _SUBSTANTIAL = 0.4, 0.6  # bounds of "moderate" agreement


def disputed(inputs: Inputs) -> list[str]:
    """The ids of the samples that the section shows: those with the largest disagreement of two ratings."""
    result = inputs.results("judge") or {"agreement": []}
    return list(dict.fromkeys(d["id"] for one in result["agreement"] for d in one["disagreements"][:MAX_DISAGREEMENTS]))


def judge_section(inputs: Inputs, config: ReportConfig, samples: Mapping[str, Sample]) -> Section:
    """The judge section.

    Args:
      inputs: the artefacts.
      config: sizes and limits.
      samples: the samples of `disputed`, by id; a missing one is shown without its content.
    """
    title = "Judge"
    result = inputs.results("judge")
    if result is None:
        return Section("judge", title, "", missing=["No judgments yet: the judge stage writes results/judge.json."])
    judged = result["samples"]["judged"]
    skipped = result["samples"]["skipped"]
    names = sorted({r["judge"] for r in result["rounds"] if r["kind"] == "vote"})
    repeats = result["agreement"][0] if result["agreement"] else None
    kappa = repeats["mean"]["kappa"] if repeats else None
    facts = [
        KeyFigure("judged samples", count(judged), f"{count(skipped)} skipped" if skipped else "none skipped"),
        KeyFigure("ratings", count(sum(r["answered"] for r in result["rounds"])), f"by {', '.join(names)}"),
        KeyFigure("cost", f"${result['cost_usd']:.2f}", "as it happened: under Times"),
        KeyFigure(
            "agreement", fixed(kappa), "mean quadratic kappa of repeats" if repeats else "no sample was rated twice"
        ),
    ]
    blocks: list[Block] = [
        KeyFigures(facts),
        Grid([_histograms(result), *(_agreement_table(one) for one in result["agreement"])]),
    ]
    styles = {k: v for k, v in sorted(result["style_counts"].items(), key=lambda p: (-p[1], p[0])) if v}
    blocks.append(
        share_bars(list(styles.items()), judged or 1, title="Styles", note="A sample has up to three styles.")
    )
    for one in result["agreement"]:
        blocks += _agreement(one, _rubric_order(inputs, one), samples, config)
    details = [_rounds(result), _ledger(result), _sources(result)]
    if result["usage"].get("prompt_tokens") and result.get("estimate"):
        blocks.append(_expected(result))
    blocks.append(Fold("Rounds, ledger and sources", [Grid(details)]))
    missing = [] if repeats else ["Agreement is unknown: no sample was rated twice (config.judge.repeat_share)."]
    return Section(
        "judge", title, "The ratings that the scorer is trained on, and their reliability.", blocks, missing,
        headline=_headline(judged, names, kappa),
    )  # fmt: skip


def _headline(judged: int, names: Sequence[str], kappa: float | None) -> KeyFigure:
    """The number of judged samples; good or bad by the agreement of the repeats (Landis and Koch 1977)."""
    note = f"by {', '.join(names)}"
    if kappa is None:
        return KeyFigure("judged", count(judged), note)
    tone: Literal["neutral", "good", "bad"] = "good" if kappa > _SUBSTANTIAL else "neutral" if kappa > _FAIR else "bad"
    return KeyFigure("judged", count(judged), f"{note}; kappa of repeats {fixed(kappa)}", tone)


def _rounds(result: Mapping[str, Any]) -> Table:
    rows = [(r["kind"], r["judge"], count(r["asked"]), count(r["answered"])) for r in result["rounds"]]
    return Table(("round", "judge", "requested", "answered"), rows, numeric=(2, 3), title="Rounds")


def _histograms(result: Mapping[str, Any]) -> Heat:
    rows = []
    for slug in in_order(result["histograms"]):
        counts = result["histograms"][slug]
        total = sum(counts) or 1
        cells = [Cell(count(n), (n / total) ** 0.5, percent(n / total)) for n in counts]
        rows.append((readable(slug), cells))
    return Heat(
        [str(i) for i in range(6)], rows, corner="rating", title="Ratings",
        note="Number of samples with each rating.",
    )  # fmt: skip


def _agreement_table(one: Mapping[str, Any]) -> Table:
    rows = [
        (readable(slug), *(fixed(one["capabilities"][slug][m]) for m in ("kappa", "spearman", "mean_abs_difference")))
        for slug in in_order(one["capabilities"])
    ]
    mean = one["mean"]
    rows.append(("mean", fixed(mean["kappa"]), fixed(mean["spearman"]), fixed(mean["mean_abs_difference"])))
    return Table(
        ("capability", "kappa", "Spearman", "difference"), rows, numeric=(1, 2, 3),
        strong=(len(rows) - 1,), title=f"Agreement on {count(one['samples'])} samples rated twice",
        note=f"{one['first']} against {one['second']}: quadratic kappa, rank correlation, mean absolute difference. "
        "A dash: one of the two ratings is constant.",
    )  # fmt: skip


def _rubric_order(inputs: Inputs, one: Mapping[str, Any]) -> list[str]:
    """The capabilities in the order of a rating's scores, from the judgments' columns, since JSON keys are sorted."""
    path = inputs.workdir.judge / "judgments.parquet"
    if path.exists():
        return list(tables.capability_slugs(files.read_parquet_schema(path)))
    return in_order(one["capabilities"])


def _expected(result: Mapping[str, Any]) -> Table:
    """The estimate made before the first request and the totals of the ledger."""
    estimate, usage = result["estimate"], result["usage"]
    rows = []
    for name, key in (("prompt tokens", "prompt_tokens"), ("answer tokens", "completion_tokens")):
        used, expected = usage.get(key, 0), estimate[key]
        rows.append((name, count(expected), count(used), f"× {used / expected:.2f}" if expected else "–"))
    usd, cost = estimate["usd"], result["cost_usd"]
    if usd is not None:
        rows.append(("US dollars", f"{usd:.2f}", f"{cost:.2f}", f"× {cost / usd:.2f}" if usd else "–"))
    date = estimate.get("prices_date")
    note = f"Prices as of {date} (config.judge.api.prices)." if date else "The price of the model is unknown."
    return Table(
        ("", "estimate", "ledger", "ratio"), rows, numeric=(1, 2, 3), title="Estimate and ledger",
        note=f"{note} The provider's bill is authoritative. The ledger includes repairs and retries.",
    )  # fmt: skip


def _agreement(
    one: Mapping[str, Any], slugs: Sequence[str], samples: Mapping[str, Sample], config: ReportConfig
) -> list[Block]:
    """The agreement of two ratings on styles, and the samples with the largest disagreement."""
    styles = one["styles"]
    note = Note(
        f"Styles of repeats: same main style in {percent(styles['same_main'])}; mean Jaccard overlap "
        f"{fixed(styles['jaccard'])}; macro-F1 {fixed(styles['macro_f1'])}."
    )
    blocks: list[Block] = [note]
    if one["disagreements"]:
        shown = one["disagreements"][:MAX_DISAGREEMENTS]
        cards = Cards([_disagreement(slugs, d, samples.get(d["id"]), config) for d in shown])
        blocks.append(Fold(f"The {len(shown)} samples with the largest disagreement", [cards]))
    return blocks


def _disagreement(slugs: Sequence[str], d: Mapping[str, Any], sample: Sample | None, config: ReportConfig) -> Card:
    """A card of a sample with the differences of its two ratings."""
    first, second = d["first"], d["second"]
    pairs = zip(slugs, first["scores"], second["scores"], strict=True)
    parts = [f"{readable(s)} {a} → {b}" for s, a, b in pairs if a != b]
    if first["styles"] != second["styles"]:
        parts.append(f"styles {', '.join(first['styles'])} → {', '.join(second['styles'])}")
    parts += [
        f"{which} judge: {r['rationale']}" for which, r in (("first", first), ("second", second)) if r["rationale"]
    ]
    points = f"{count(d['difference'])} points apart"
    why = "; ".join(parts)
    return sample_card(
        GallerySample(d["id"], "", -1, why), sample, sample.source if sample is not None else "", [points], [], config
    )


def _ledger(result: Mapping[str, Any]) -> Table:
    rows = [(str(k), count(v)) for k, v in sorted(result["ledger"].items())]
    rows += [(f"skipped: {k}", count(v)) for k, v in sorted(result["skip_reasons"].items())]
    rows += [(readable(k), count(v)) for k, v in sorted(result["usage"].items())]
    rows.append(("invalid answers", percent(result["invalid_rate"])))
    return Table(("ledger", "count"), rows, numeric=(1,))


def _sources(result: Mapping[str, Any]) -> Table:
    rows = [(s, count(r["pool"]), count(r["judged"])) for s, r in result["per_source"].items()]
    return Table(("source", "pool", "judged"), rows, numeric=(1, 2))
