"""Agreement of two sets of ratings: quadratic kappa, Spearman, mean absolute difference, style overlap."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mmssr_jax.core.json_format import json_number
from mmssr_jax.core.statistics import mean, quadratic_kappa, spearman
from mmssr_jax.core.vocabulary import MAX_SCORE
from mmssr_jax.judge.rubric import Judgment, Rubric

GALLERY = 12  # disagreements listed


def _mean(values: Sequence[float | None]) -> float | int | None:
    return json_number(mean([v for v in values if v is not None]))


def _style_agreement(first: Sequence[Judgment], second: Sequence[Judgment], rubric: Rubric) -> dict[str, Any]:
    overlap = [
        len({*a.styles} & {*b.styles}) / len({*a.styles} | {*b.styles}) for a, b in zip(first, second, strict=True)
    ]
    per_style: dict[str, Any] = {}
    for style in rubric.styles:
        a, b = ([style in r.styles for r in side] for side in (first, second))
        both, either = sum(x and y for x, y in zip(a, b, strict=True)), sum(a) + sum(b)
        per_style[style] = {"first": sum(a), "second": sum(b), "f1": json_number(2 * both / either) if either else None}
    same = [a.styles[0] == b.styles[0] for a, b in zip(first, second, strict=True)]
    return {
        "same_main": _mean(same),
        "jaccard": _mean(overlap),
        "macro_f1": _mean([row["f1"] for row in per_style.values()]),
        "per_style": per_style,
    }


def agreement(first: Mapping[str, Judgment], second: Mapping[str, Judgment], rubric: Rubric) -> dict[str, Any]:
    """Compares the ratings of the samples that are in both sets.

    Returns:
      `samples` (int); `capabilities`: slug -> `spearman`, `kappa`, `mean_abs_difference` (null if not defined);
      `mean`: the mean of each over the capabilities for which it is defined; `styles`: `same_main` (share),
      `jaccard`, `macro_f1`, `per_style`; `disagreements`: the samples that differ most, with both ratings.
    """
    ids = sorted(first.keys() & second.keys())
    first_rows, second_rows = [first[i] for i in ids], [second[i] for i in ids]
    a = np.array([r.scores for r in first_rows], np.float64).reshape(len(ids), len(rubric.slugs))
    b = np.array([r.scores for r in second_rows], np.float64).reshape(len(ids), len(rubric.slugs))
    capabilities = {}
    for k, slug in enumerate(rubric.slugs):
        capabilities[slug] = {
            "spearman": json_number(spearman(a[:, k], b[:, k])),
            "kappa": json_number(quadratic_kappa(a[:, k], b[:, k])),
            "mean_abs_difference": json_number(float(np.mean(np.abs(a[:, k] - b[:, k])))) if ids else None,
        }
    measures = ("spearman", "kappa", "mean_abs_difference")
    return {
        "samples": len(ids),
        "capabilities": capabilities,
        "mean": {m: _mean([row[m] for row in capabilities.values()]) for m in measures},
        "styles": _style_agreement(first_rows, second_rows, rubric),
        "disagreements": _disagreements(ids, first_rows, second_rows),
    }


def _disagreements(ids: Sequence[str], first: Sequence[Judgment], second: Sequence[Judgment]) -> list[dict[str, Any]]:
    """The samples with the largest summed difference of scores, largest first, ties by id."""
    rows = []
    for sample_id, a, b in zip(ids, first, second, strict=True):
        total = sum(abs(x - y) for x, y in zip(a.scores, b.scores, strict=True))
        if total or a.styles != b.styles:
            rows.append((-total, sample_id, a, b))
    return [
        {
            "id": sample_id,
            "difference": -total,
            "first": {"scores": list(a.scores), "styles": list(a.styles), "rationale": a.rationale},
            "second": {"scores": list(b.scores), "styles": list(b.styles), "rationale": b.rationale},
        }
        for total, sample_id, a, b in sorted(rows, key=lambda r: r[:2])[:GALLERY]
    ]


def histograms(judgments: Sequence[Judgment], rubric: Rubric) -> dict[str, list[int]]:
    """Number of samples with score 0, 1, ... 5; slug -> six counts."""
    return {
        slug: [sum(j.scores[k] == s for j in judgments) for s in range(MAX_SCORE + 1)]
        for k, slug in enumerate(rubric.slugs)
    }


def style_counts(judgments: Sequence[Judgment], rubric: Rubric) -> dict[str, int]:
    """Number of samples with each style."""
    return {style: sum(style in j.styles for j in judgments) for style in rubric.styles}
