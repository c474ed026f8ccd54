"""Measures a run on an outside set against the truth of the samples that no judge rated."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from benchmarks.outside_sets import writing
from benchmarks.outside_sets.instruments import INSTRUMENTS
from benchmarks.outside_sets.toys import TOYS
from benchmarks.outside_sets.village import VILLAGE
from mmssr_jax.core import files, tables
from mmssr_jax.core.vocabulary import SLUGS
from mmssr_jax.core.workdir import Workdir
from mmssr_jax.data.subset import held_out_mask
from mmssr_jax.scoring.flaw_ranking import flaw_ranking
from mmssr_jax.scoring.ngram_ridge import ngram_ridge
from mmssr_jax.scoring.quality import scorer_report
from mmssr_jax.scoring.ranking_metrics import macro_concordance

SETS = {made.name: made for made in (INSTRUMENTS, TOYS, VILLAGE)}


def measure(data: Path, workdir: Workdir) -> dict[str, Any]:
    """The measures that benchmarks/outside.py lists."""
    truth = files.read_parquet(data / writing.TRUTH)
    ratings = {row["id"]: row["scores"] for row in files.read_jsonl(data / writing.RATINGS)}
    texts = {
        r["id"]: "\n".join(t["value"] for t in r["conversations"])
        for r in json.loads((data / writing.POOL).read_text())
    }
    table = tables.read_parts(workdir.scores)
    position = {name: n for n, name in enumerate(table["id"].to_pylist())}
    unrated = truth.filter(pa.array([i not in ratings for i in truth["id"].to_pylist()]))
    ids = unrated["id"].to_pylist()
    rows = table.take(pa.array([position[i] for i in ids]))
    text_only = ngram_ridge(
        [texts[i] for i in ratings], np.array(list(ratings.values()), float), [texts[i] for i in ids]
    )
    scores = {"raw": tables.matrix(rows, SLUGS)}
    calibrated = [tables.calibrated_name(slug) for slug in SLUGS]
    if set(calibrated) <= set(rows.schema.names):
        scores["calibrated"] = tables.matrix(rows, calibrated)
    measured: dict[str, Any] = {"unrated": len(ids)}
    for kind, values in scores.items():
        others = {"ngram_ridge": text_only} | ({} if kind == "raw" else {"raw": scores["raw"]})
        measured[kind] = _quality(values, unrated, rows, others)
    measured["ngram_ridge"] = _quality(text_only, unrated, rows, {})
    measured["held_out"] = held_out(workdir, truth, ratings)
    measured["flawed_share"] = flawed_shares(workdir, truth)
    return measured


def _quality(scores: np.ndarray, truth: pa.Table, rows: pa.Table, others: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """The measures of scores [n, C] against the truth of the same n samples; `others` are compared with, [n, C]."""
    report = scorer_report(
        scores, tables.matrix(truth, SLUGS), slugs=SLUGS, truth_kind="synthetic", baselines=others,
        styles=rows["styles"].to_pylist(), true_styles=truth["styles"].to_pylist(),
    )  # fmt: skip
    flaws = flaw_ranking(scores, truth["flaw"].to_pylist(), truth["form"].to_pylist())
    return {
        "concordance": report["concordance"],
        "interval": report["concordance_interval"],
        **{f"over_{name}": [b["gap"], *b["gap_interval"]] for name, b in report["baselines"].items()},
        "style_f1": report["styles"]["macro_f1"],
        "unflawed_above": flaws["unflawed_above"],
        "by_flaw": {kind: found["unflawed_above"] for kind, found in flaws["by_flaw"].items()},
    }


def held_out(workdir: Workdir, truth: pa.Table, ratings: Mapping[str, Sequence[int]]) -> dict[str, Any]:
    """The run's own report on the ratings it held out: concordances, and leads with their intervals."""
    scorer = files.read_json(workdir.config)["scorer"]
    names = files.read_parquet(workdir.judge / "judgments.parquet", ["id"])["id"].to_pylist()
    mask = held_out_mask(names, share=scorer["holdout"], seed=scorer.get("holdout_seed", 0))
    left = [name for name, out in zip(names, mask, strict=True) if out]
    position = {name: n for n, name in enumerate(truth["id"].to_pylist())}
    true = tables.matrix(truth.take(pa.array([position[i] for i in left])), SLUGS)
    found: dict[str, Any] = {"rated": len(left)}
    found["truth"] = round(macro_concordance(true, np.array([ratings[i] for i in left], float)), 4)
    report = files.read_json(workdir.results("scorer"))
    for kind, part in {"raw": report, "calibrated": report.get("calibrated")}.items():
        if part is not None:
            leads = {f"over_{name}": [b["gap"], *b["gap_interval"]] for name, b in part["baselines"].items()}
            found[kind] = {"concordance": part["concordance"], **leads}
    return found


def flawed_shares(workdir: Workdir, truth: pa.Table) -> dict[str, float]:
    """The share of flawed samples in the pool and in each selection."""
    flaw = dict(zip(truth["id"].to_pylist(), truth["flaw"].to_pylist(), strict=True))
    chosen = {"pool": list(flaw)}
    for folder in sorted(workdir.selections.iterdir()):
        if (folder / "ids.txt").exists():
            chosen[folder.name] = (folder / "ids.txt").read_text().split("\n")[:-1]
    return {name: round(sum(flaw[i] != "" for i in ids) / len(ids), 4) for name, ids in chosen.items()}
