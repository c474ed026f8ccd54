"""How good a scorer is: its scores against the truth (a generator's) or a judge's ratings, on held-out samples.

Everything here is numpy on plain arrays: scores [rows, capabilities] as floats, truth [rows, capabilities] as the
rubric's 0-5; NaN marks what was not scored or not rated, and leaves that cell out.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

import numpy as np

from mmssr_jax.core import statistics
from mmssr_jax.core.vocabulary import STYLES
from mmssr_jax.scoring import ranking_metrics

CONSTANT_STD = 1e-3  # scores move by less than this between backends, so less is no information
MIN_DIGIT_MASS = 0.5


@dataclasses.dataclass(frozen=True)
class Counterfactual:
    """Scores of the same texts with their own picture and with another one.

    Attributes:
      right: [pairs, capabilities], scored with the sample's own picture.
      altered: [pairs, capabilities], scored with the picture of `kinds`.
      kinds: what was done to each picture, such as "blank" or "swapped".
      asked: bool [pairs, capabilities], the seeing capabilities that the sample trains in earnest (truth of 3 or
        more); at least one a pair.
    """

    right: np.ndarray
    altered: np.ndarray
    kinds: Sequence[str]
    asked: np.ndarray


def style_quality(
    predicted: Sequence[Sequence[str]], truth: Sequence[Sequence[str]], *, names: Sequence[str] = STYLES
) -> dict[str, Any]:
    """Multi-label precision, recall and F1 of the styles.

    Returns:
      `macro_f1` over the styles that occur on either side, `main_accuracy` (the first style agrees), and per style
      `support`, `predicted`, `precision`, `recall`, `f1`.
    """
    extra = sorted({s for row in (*predicted, *truth) for s in row} - set(names))
    per_style: dict[str, dict[str, float | int | None]] = {}
    for name in [*names, *extra]:
        said, true = (np.array([name in row for row in rows], bool) for rows in (predicted, truth))
        if not said.any() and not true.any():
            continue
        hits = int((said & true).sum())
        per_style[name] = {
            "support": int(true.sum()),
            "predicted": int(said.sum()),
            "precision": _json(hits / said.sum() if said.any() else float("nan")),
            "recall": _json(hits / true.sum() if true.any() else float("nan")),
            "f1": _json(2 * hits / (said.sum() + true.sum())),
        }
    main = [bool(p and t and p[0] == t[0]) for p, t in zip(predicted, truth, strict=True)]
    return {
        "n": len(main),
        "macro_f1": _json(statistics.mean([float(s["f1"]) for s in per_style.values()])),  # type: ignore[arg-type]
        "main_accuracy": _json(statistics.mean([float(m) for m in main])),
        "styles": per_style,
    }


def degenerate(scores: np.ndarray, slugs: Sequence[str], digit_mass: np.ndarray | None = None) -> dict[str, str]:
    """The capabilities whose scores mean nothing, each with the reason.

    Args:
      scores: [rows, capabilities].
      slugs: the capabilities' names.
      digit_mass: [rows, capabilities] or [rows]; how much of the next-token probability the digits 0-5 hold.
    """
    found = {}
    for c, slug in enumerate(slugs):
        column = scores[:, c][~np.isnan(scores[:, c])]
        mass = None if digit_mass is None else float(np.mean(digit_mass if digit_mass.ndim == 1 else digit_mass[:, c]))
        if not len(column):
            found[slug] = "no scores"
        elif column.std() < CONSTANT_STD:
            found[slug] = f"constant: all scores are {column.mean():.3f}"
        elif mass is not None and mass < MIN_DIGIT_MASS:
            found[slug] = f"the digits hold {mass:.1%} of the probability, less than {MIN_DIGIT_MASS:.0%}"
    return found


def counterfactual_quality(pairs: Counterfactual) -> dict[str, Any]:
    """How often the scores of what there was to see fall when the picture is not the sample's own.

    Args:
      pairs: the two scorings.

    Returns:
      `pairs`, `fell` (the share of pairs whose mean over the asked capabilities is lower), `mean_fall` (score points),
      and the same per kind under `by_kind`.
    """
    asked = np.asarray(pairs.asked, bool)
    fall = ((pairs.right - pairs.altered) * asked).sum(axis=1) / asked.sum(axis=1)
    kinds = np.asarray(pairs.kinds, dtype=object)

    def part(rows: np.ndarray) -> dict[str, Any]:
        return {
            "pairs": len(rows),
            "fell": _json(statistics.mean((rows > 0).astype(float))),
            "mean_fall": _json(statistics.mean(rows)),
        }

    return {**part(fall), "by_kind": {k: part(fall[kinds == k]) for k in sorted(set(pairs.kinds))}}


def capability_quality(scores: np.ndarray, truth: np.ndarray) -> dict[str, Any]:
    """Every measure of one capability; scores and truth are [rows]. See `scorer_report` for the fields."""
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
        "concordance": _json(value),
        "top": {k: _json(v) for k, v in ranking_metrics.top_precision(s, t).items()},
        "mae": _json(np.abs(s - t).mean()),
        "bias": _json((s - t).mean()),
        "quadratic_kappa": _json(statistics.quadratic_kappa(ranking_metrics.rounded(s), ranking_metrics.rounded(t))),
        "spearman": {"value": _json(statistics.spearman(s, t)), "ceiling": _json(statistics.spearman_ceiling(t))},
        "confusion": table.tolist(),
        "calibration": [{k: _json(v) for k, v in row.items()} for row in ranking_metrics.calibration(s, t)],
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
    """The content of `results/scorer.json`, on rows that the scorer never saw.

    Args:
      scores: [rows, capabilities], expected scores 0-5.
      truth: [rows, capabilities], 0-5.
      slugs: [capabilities].
      truth_kind: where the truth comes from.
      styles: the scorer's styles, a list per row; needs `true_styles`.
      true_styles: the truth's.
      baselines: name -> [rows, capabilities]: trivial predictors on the same rows (see `baselines.py`; "blind" is
        the scorer itself without pictures).
      counterfactual: the same texts with other pictures.
      digit_mass: [rows] or [rows, capabilities].
      resamples: bootstrap draws of the 95 % intervals.
      seed: of the bootstrap.

    Returns:
      JSON-ready; numbers rounded to 6 decimals, None where a measure is undefined:
        n, truth
        concordance           macro average over the capabilities that have a pair
        concordance_interval  [low, high], 95 %, rows resampled
        measured              how many capabilities that average is of
        capabilities          slug -> {n, missing, pairs, concordance, top: {k, precision, oracle, ratio}, mae, bias,
                              quadratic_kappa, spearman: {value, ceiling}, confusion [truth][rounded score],
                              calibration: [{score, n, mean_score, mean_truth}], digit_mass, degenerate (why, or None)}
        top_ratio, mae, quadratic_kappa, spearman, spearman_ceiling   means over the capabilities that have them
        styles                {n, macro_f1, main_accuracy, styles: {name: {support, predicted, precision, recall, f1}}}
        baselines             name -> {concordance, capabilities: {slug: concordance}, gap: the scorer's lead,
                              gap_interval: [low, high], paired on the same resampled rows}
        counterfactual        {pairs, fell, mean_fall, by_kind: {kind: {pairs, fell, mean_fall}}}
        degenerate            [slug]

    Raises:
      ValueError: shapes do not agree.
    """
    baselines = dict(baselines or {})
    for name, array in {"scores": scores, **baselines}.items():
        if array.shape != truth.shape or array.shape[1] != len(slugs):
            raise ValueError(f"{name} is {array.shape}, truth {truth.shape}, for {len(slugs)} capabilities")
    reasons = degenerate(scores, slugs, digit_mass)
    capabilities = {}
    for c, slug in enumerate(slugs):
        capabilities[slug] = capability_quality(scores[:, c], truth[:, c]) | {"degenerate": reasons.get(slug)}
        if digit_mass is not None:
            column = digit_mass if digit_mass.ndim == 1 else digit_mass[:, c]
            capabilities[slug]["digit_mass"] = _json(np.mean(column))
    drawn = ranking_metrics.bootstrap_concordance([scores, *baselines.values()], truth, resamples=resamples, seed=seed)
    report: dict[str, Any] = {
        "n": len(truth),
        "truth": truth_kind,
        "concordance": _json(ranking_metrics.macro_concordance(scores, truth)),
        "concordance_interval": _interval(drawn[:, 0]),
        "measured": sum(v["concordance"] is not None for v in capabilities.values()),
        "capabilities": capabilities,
        "top_ratio": _average(v["top"]["ratio"] for v in capabilities.values() if v["n"]),
        "mae": _average(v["mae"] for v in capabilities.values() if v["n"]),
        "quadratic_kappa": _average(v["quadratic_kappa"] for v in capabilities.values() if v["n"]),
        "spearman": _average(v["spearman"]["value"] for v in capabilities.values() if v["n"]),
        "spearman_ceiling": _average(v["spearman"]["ceiling"] for v in capabilities.values() if v["n"]),
        "baselines": _baseline_report(scores, truth, slugs, baselines, drawn),
        "degenerate": list(reasons),
    }
    if styles is not None and true_styles is not None:
        report["styles"] = style_quality(styles, true_styles)
    if counterfactual is not None:
        report["counterfactual"] = counterfactual_quality(counterfactual)
    return report


def _baseline_report(
    scores: np.ndarray,
    truth: np.ndarray,
    slugs: Sequence[str],
    baselines: Mapping[str, np.ndarray],
    drawn: np.ndarray,
) -> dict[str, Any]:
    """Each trivial predictor's concordance and the scorer's lead; `drawn` is [resamples, 1 + baselines]."""
    lead = ranking_metrics.macro_concordance(scores, truth)
    out = {}
    for b, (name, predicted) in enumerate(baselines.items(), 1):
        value = ranking_metrics.macro_concordance(predicted, truth)
        out[name] = {
            "concordance": _json(value),
            "capabilities": {
                slug: _json(ranking_metrics.concordance(predicted[:, c], truth[:, c])[0])
                for c, slug in enumerate(slugs)
            },
            "gap": _json(lead - value),
            "gap_interval": _interval(drawn[:, 0] - drawn[:, b]),
        }
    return out


def _interval(draws: np.ndarray) -> list[float | None]:
    """The middle 95 % of bootstrap draws."""
    defined = draws[~np.isnan(draws)]
    return [_json(v) for v in np.quantile(defined, [0.025, 0.975])] if len(defined) else [None, None]


def _average(values: Iterable[float | None]) -> float | None:
    return _json(statistics.mean(v for v in values if v is not None))


def _json(value: float | int | np.number) -> float | int | None:
    """A plain number of 6 decimals, so that files are equal; None for NaN."""
    if isinstance(value, (int, np.integer)):
        return int(value)
    return None if np.isnan(value) else round(float(value), 6)
