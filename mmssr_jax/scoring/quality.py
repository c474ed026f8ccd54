"""Quality of a scorer on held-out samples: its scores against a synthetic pool's truth or a judge's ratings.

Plain numpy: scores are floats [n, C], truth is the rubric's 0-5 [n, C] for n samples and C capabilities; cells that are
NaN in either (not scored, not rated) are ignored.

`results/scorer.json`: numbers rounded to 6 decimals, None where a measure is undefined.

      n, truth
      concordance           macro average over the capabilities with at least one pair
      concordance_interval  [low, high], 95 %, samples resampled
      measured              number of capabilities in that average
      capabilities          slug -> {n, missing, pairs, concordance, top: {k, precision, oracle, ratio}, mae, bias,
                            quadratic_kappa, spearman: {value, ceiling}, confusion [truth][rounded score],
                            calibration: [{score, n, mean_score, mean_truth}], digit_mass, degenerate (why, or None)}
      top_ratio, mae, quadratic_kappa, spearman, spearman_ceiling   means over the capabilities where defined
      styles                {n, macro_f1, main_accuracy, styles: {name: {support, predicted, precision, recall, f1}}}
      baselines             name -> {concordance, capabilities: {slug: concordance}, gap: the scorer's lead,
                            gap_interval: [low, high], paired on the same resamples}
      counterfactual        {pairs, fell, mean_fall, by_kind: {kind: {pairs, fell, mean_fall}}}
      degenerate            [slug]
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

import numpy as np

from mmssr_jax.core import statistics
from mmssr_jax.core.json_format import json_number
from mmssr_jax.core.vocabulary import STYLES
from mmssr_jax.scoring import ranking_metrics

CONSTANT_STD = 1e-3  # scores differ by less than this between backends; a smaller spread carries no information
MIN_DIGIT_MASS = 0.5


@dataclasses.dataclass(frozen=True)
class Counterfactual:
    """Scores of the same texts with the sample's image and with an altered one.

    Attributes:
      original: [pairs, C], scores with the sample's image.
      altered: [pairs, C], scores with the altered image.
      kinds: [pairs], how each image was altered: "blank" or "swapped".
      visual: bool [pairs, C], the visual capabilities that the sample trains (truth of 3 or more); the pairs are
        compared on these, and each pair has at least one.
    """

    original: np.ndarray
    altered: np.ndarray
    kinds: Sequence[str]
    visual: np.ndarray


def style_quality(
    predicted: Sequence[Sequence[str]], truth: Sequence[Sequence[str]], *, names: Sequence[str] = STYLES
) -> dict[str, Any]:
    """Multi-label precision, recall and F1 of the styles.

    Args:
      predicted, truth: the styles of each sample, main style first.
      names: the styles of the rubric.

    Returns:
      `macro_f1` over the styles that occur in either list, `main_accuracy` (share of equal main styles), and for each
      style `support`, `predicted`, `precision`, `recall`, `f1`.
    """
    extra = sorted({s for row in (*predicted, *truth) for s in row} - set(names))
    per_style: dict[str, dict[str, float | int | None]] = {}
    for name in [*names, *extra]:
        positive, true = (np.array([name in row for row in rows], bool) for rows in (predicted, truth))
        if not positive.any() and not true.any():
            continue
        hits = int((positive & true).sum())
        per_style[name] = {
            "support": int(true.sum()),
            "predicted": int(positive.sum()),
            "precision": json_number(hits / positive.sum() if positive.any() else float("nan")),
            "recall": json_number(hits / true.sum() if true.any() else float("nan")),
            "f1": json_number(2 * hits / (positive.sum() + true.sum())),
        }
    main = [bool(p and t and p[0] == t[0]) for p, t in zip(predicted, truth, strict=True)]
    return {
        "n": len(main),
        "macro_f1": json_number(statistics.mean([float(s["f1"]) for s in per_style.values()])),  # type: ignore[arg-type]
        "main_accuracy": json_number(statistics.mean([float(m) for m in main])),
        "styles": per_style,
    }


def degenerate(scores: np.ndarray, slugs: Sequence[str], digit_mass: np.ndarray | None = None) -> dict[str, str]:
    """Slug -> reason, for the capabilities whose scores carry no information.

    Args:
      scores: [n, C].
      slugs: [C], the capabilities' slugs.
      digit_mass: [n, C] or [n]; probability mass of the digits 0-5 in the next-token distribution.
    """
    reasons = {}
    for c, slug in enumerate(slugs):
        column = scores[:, c][~np.isnan(scores[:, c])]
        mass = None if digit_mass is None else float(np.mean(digit_mass if digit_mass.ndim == 1 else digit_mass[:, c]))
        if not len(column):
            reasons[slug] = "no scores"
        elif column.std() < CONSTANT_STD:
            reasons[slug] = f"constant: all scores are {column.mean():.3f}"
        elif mass is not None and mass < MIN_DIGIT_MASS:
            reasons[slug] = f"the digits hold {mass:.1%} of the probability, less than {MIN_DIGIT_MASS:.0%}"
    return reasons


def counterfactual_quality(pairs: Counterfactual) -> dict[str, Any]:
    """How often, and by how much, the scores of visual capabilities fall when the image is altered.

    Args:
      pairs: scores with the original and the altered image, [pairs, C] each.

    Returns:
      `pairs`, `fell` (share of pairs whose mean over the visual capabilities falls), `mean_fall` (in score points),
      and the same for each kind of alteration under `by_kind`.
    """
    visual = np.asarray(pairs.visual, bool)
    fall = ((pairs.original - pairs.altered) * visual).sum(axis=1) / visual.sum(axis=1)
    kinds = np.asarray(pairs.kinds, dtype=object)

    def summary(falls: np.ndarray) -> dict[str, Any]:
        return {
            "pairs": len(falls),
            "fell": json_number(statistics.mean((falls > 0).astype(float))),
            "mean_fall": json_number(statistics.mean(falls)),
        }

    return {**summary(fall), "by_kind": {k: summary(fall[kinds == k]) for k in sorted(set(pairs.kinds))}}


def capability_quality(scores: np.ndarray, truth: np.ndarray) -> dict[str, Any]:
    """All measures of one capability; scores and truth are [n]. See `scorer_report` for the fields."""
    kept = ~(np.isnan(scores) | np.isnan(truth))
    s, t = scores[kept].astype(np.float64), truth[kept].astype(np.float64)
    if not len(s):
        return {"n": 0, "missing": len(scores), "pairs": 0, "concordance": None}
    value, pairs = ranking_metrics.concordance(s, t)
    table = ranking_metrics.confusion(s, t)
    return {
        "n": len(s),
        "missing": len(scores) - len(s),
        "pairs": int(pairs),
        "concordance": json_number(value),
        "top": {k: json_number(v) for k, v in ranking_metrics.top_precision(s, t).items()},
        "mae": json_number(np.abs(s - t).mean()),
        "bias": json_number((s - t).mean()),
        "quadratic_kappa": json_number(
            statistics.quadratic_kappa(ranking_metrics.rounded(s), ranking_metrics.rounded(t))
        ),
        "spearman": {
            "value": json_number(statistics.spearman(s, t)),
            "ceiling": json_number(statistics.spearman_ceiling(t)),
        },
        "confusion": table.tolist(),
        "calibration": [{k: json_number(v) for k, v in row.items()} for row in ranking_metrics.calibration(s, t)],
    }


def scorer_report(
    scores: np.ndarray,
    truth: np.ndarray,
    *,
    slugs: Sequence[str],
    truth_kind: Literal["synthetic", "judge"],
    styles: Sequence[Sequence[str]] | None = None,
    true_styles: Sequence[Sequence[str]] | None = None,
    baselines: Mapping[str, np.ndarray] | None = None,
    counterfactual: Counterfactual | None = None,
    digit_mass: np.ndarray | None = None,
    resamples: int = 200,
    seed: int = 0,
) -> dict[str, Any]:
    """The content of `results/scorer.json`, measured on samples outside the scorer's training set.

    Args:
      scores, truth: [n, C], expected scores and the truth, 0-5.
      slugs: [C].
      truth_kind: source of the truth.
      styles, true_styles: the scorer's and the true styles for each sample.
      baselines: name -> [n, C]: trivial predictors on the same samples (see `baselines.py`; "blind" is the scorer
        itself with blank images).
      counterfactual: scores of the same texts with altered images.
      digit_mass: [n] or [n, C].
      resamples, seed: of the bootstrap of the 95 % intervals.

    Returns:
      JSON-ready, as the module docstring describes it.

    Raises:
      ValueError: shapes differ.
    """
    baselines = dict(baselines or {})
    for name, array in {"scores": scores, **baselines}.items():
        if array.shape != truth.shape or array.shape[1] != len(slugs):
            raise ValueError(f"{name} is {array.shape}, truth {truth.shape}, for {len(slugs)} capabilities")
    reasons = degenerate(scores, slugs, digit_mass)
    capabilities = _capability_reports(scores, truth, slugs, digit_mass, reasons)
    draws = ranking_metrics.bootstrap_concordance([scores, *baselines.values()], truth, resamples=resamples, seed=seed)
    report: dict[str, Any] = {
        "n": len(truth),
        "truth": truth_kind,
        "concordance": json_number(ranking_metrics.macro_concordance(scores, truth)),
        "concordance_interval": _interval(draws[:, 0]),
        "measured": sum(v["concordance"] is not None for v in capabilities.values()),
        "capabilities": capabilities,
        "top_ratio": _average(v["top"]["ratio"] for v in capabilities.values() if v["n"]),
        "mae": _average(v["mae"] for v in capabilities.values() if v["n"]),
        "quadratic_kappa": _average(v["quadratic_kappa"] for v in capabilities.values() if v["n"]),
        "spearman": _average(v["spearman"]["value"] for v in capabilities.values() if v["n"]),
        "spearman_ceiling": _average(v["spearman"]["ceiling"] for v in capabilities.values() if v["n"]),
        "baselines": _baseline_report(scores, truth, slugs, baselines, draws),
        "degenerate": list(reasons),
    }
    if styles is not None and true_styles is not None:
        report["styles"] = style_quality(styles, true_styles)
    if counterfactual is not None:
        report["counterfactual"] = counterfactual_quality(counterfactual)
    return report


def _capability_reports(
    scores: np.ndarray,
    truth: np.ndarray,
    slugs: Sequence[str],
    digit_mass: np.ndarray | None,
    reasons: Mapping[str, str],
) -> dict[str, dict[str, Any]]:
    """`capability_quality` of each capability; `reasons` are those of `degenerate`."""
    reports = {}
    for c, slug in enumerate(slugs):
        reports[slug] = capability_quality(scores[:, c], truth[:, c]) | {"degenerate": reasons.get(slug)}
        if digit_mass is not None:
            column = digit_mass if digit_mass.ndim == 1 else digit_mass[:, c]
            reports[slug]["digit_mass"] = json_number(np.mean(column))
    return reports


def _baseline_report(
    scores: np.ndarray,
    truth: np.ndarray,
    slugs: Sequence[str],
    baselines: Mapping[str, np.ndarray],
    draws: np.ndarray,
) -> dict[str, Any]:
    """Each trivial predictor's concordance and the scorer's lead; `draws` is [resamples, 1 + baselines]."""
    scorer_value = ranking_metrics.macro_concordance(scores, truth)
    report = {}
    for b, (name, predicted) in enumerate(baselines.items(), 1):
        value = ranking_metrics.macro_concordance(predicted, truth)
        report[name] = {
            "concordance": json_number(value),
            "capabilities": {
                slug: json_number(ranking_metrics.concordance(predicted[:, c], truth[:, c])[0])
                for c, slug in enumerate(slugs)
            },
            "gap": json_number(scorer_value - value),
            "gap_interval": _interval(draws[:, 0] - draws[:, b]),
        }
    return report


def _interval(draws: np.ndarray) -> list[float | None]:
    """95 % percentile interval of bootstrap draws."""
    defined = draws[~np.isnan(draws)]
    return [json_number(v) for v in np.quantile(defined, [0.025, 0.975])] if len(defined) else [None, None]


def _average(values: Iterable[float | None]) -> float | None:
    return json_number(statistics.mean(v for v in values if v is not None))
