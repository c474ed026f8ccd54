"""How good a scorer is on what it never saw: against the truth of a synthetic pool, or held-out judgments."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
from absl import logging

from mmssr_jax.core import files, tables
from mmssr_jax.core.stage import StageContext
from mmssr_jax.pool.pool import Pool
from mmssr_jax.scoring.baselines import ngram_ridge, source_mean, source_style_mean
from mmssr_jax.scoring.counterfactual import blanked, counterfactual, score_samples
from mmssr_jax.scoring.ensemble import ScorerEnsemble
from mmssr_jax.scoring.instructions import render_conversation
from mmssr_jax.scoring.quality import scorer_report
from mmssr_jax.scoring.supervision import held_out
from mmssr_jax.stages.train_scorer import ScorerConfig, judgments_path


@dataclasses.dataclass(frozen=True)
class QualityConfig:
    """How the scorer is measured.

    Attributes:
      samples: at most so many rows are used (drawn with `seed`); the blind twin has to score them once more.
      pairs: counterfactual pairs.
      seed: of the draws.
      in_domain: `results/scorer.json` of the run that trained the scorer; `results/transfer.json` then holds both.
    """

    samples: int = 1000
    pairs: int = 300
    seed: int = 0
    in_domain: str | None = None


@dataclasses.dataclass(frozen=True)
class Truth:
    """What scores are compared with.

    Attributes:
      kind: "synthetic" (known by construction) or "judge" (held-out judgments).
      table: id, one column a capability, styles.
    """

    kind: Any
    table: pa.Table


def find_truth(ctx: StageContext, scorer: ScorerConfig) -> Truth | None:
    """The truth of the synthetic pool for samples that no judge saw, else the held-out judgments; None without."""
    judged = files.read_parquet(judgments_path(ctx)) if judgments_path(ctx).exists() else None
    synthetic = ctx.workdir.truth
    if synthetic.exists():
        table = files.read_parquet(synthetic)
        seen = set(judged["id"].to_pylist()) if judged is not None else set()
        return Truth("synthetic", table.filter(pa.array([i not in seen for i in table["id"].to_pylist()])))
    if judged is None or scorer.holdout == 0:
        return None
    out = held_out(judged["id"].to_pylist(), share=scorer.holdout, seed=scorer.holdout_seed)
    return Truth("judge", judged.filter(pa.array(out)))


def measure(
    ctx: StageContext,
    config: QualityConfig,
    scorer: ScorerConfig,
    pool: Pool,
    panel: ScorerEnsemble,
    mass: np.ndarray,
    *,
    max_pixels: int,
) -> dict[str, Any] | None:
    """The content of `results/scorer.json` (see `quality.scorer_report`), or None without a truth."""
    truth = find_truth(ctx, scorer)
    if truth is None:
        logging.info("score: no truth and no held-out judgments, so results/scorer.json is not written")
        return None
    slugs = [c.slug for c in panel.capabilities]
    scores = tables.read_parts(ctx.workdir.scores)
    row_of = {i: n for n, i in enumerate(scores["id"].to_pylist())}
    known = truth.table.filter(pa.array([i in row_of for i in truth.table["id"].to_pylist()]))
    rng = np.random.default_rng(config.seed)
    drawn = np.sort(rng.permutation(known.num_rows)[: config.samples])
    known = known.take(pa.array(drawn))
    if known.num_rows == 0:
        logging.info("score: no sample is left to measure on, so results/scorer.json is not written")
        return None
    rows = scores.take(pa.array([row_of[i] for i in known["id"].to_pylist()]))
    samples = [pool[pool.position(i)] for i in known["id"].to_pylist()]
    true_scores = tables.matrix(known, slugs)
    logging.info("score: measuring on %d samples that were not trained on", len(samples))
    blind = score_samples([blanked(s) for s in samples], panel, max_pixels=max_pixels)
    seeing = np.array([c.seeing for c in panel.capabilities])
    # Pairs are asked where there is something to see: the sample trains a seeing capability in earnest.
    asked = (true_scores >= 3) & seeing
    visual = [n for n, s in enumerate(samples) if s.images and asked[n].any()][: config.pairs]
    pairs = counterfactual(
        [samples[n] for n in visual],
        asked[visual],
        panel,
        seed=config.seed,
        max_pixels=max_pixels,
    )
    main_styles = [s[0] if s else "" for s in known["styles"].to_pylist()]
    baselines = _baselines(ctx, scorer, pool, slugs, samples, main_styles)
    return scorer_report(
        tables.matrix(rows, slugs),
        true_scores,
        slugs=slugs,
        truth_kind=truth.kind,
        styles=rows["styles"].to_pylist(),
        true_styles=known["styles"].to_pylist(),
        baselines={**baselines, "blind": blind},
        counterfactual=pairs if visual else None,
        digit_mass=np.broadcast_to(mass, true_scores.shape),
        seed=config.seed,
    )


def _baselines(ctx: StageContext, scorer: ScorerConfig, pool: Pool, slugs, samples, styles) -> dict[str, np.ndarray]:
    """The trivial predictors, fitted on the judged samples that the scorer was trained on."""
    if not judgments_path(ctx).exists():
        return {}
    judged = files.read_parquet(judgments_path(ctx))
    ids = judged["id"].to_pylist()
    out = held_out(ids, share=scorer.holdout, seed=scorer.holdout_seed)
    judged = judged.filter(pa.array(~out))
    if judged.num_rows == 0:  # a scorer from elsewhere: nothing here was trained on
        return {}
    seen = [pool[pool.position(i)] for i in judged["id"].to_pylist()]
    truth = tables.matrix(judged, slugs)
    sources = [s.source for s in seen]
    here = [s.source for s in samples]
    main_styles = [s[0] if s else "" for s in judged["styles"].to_pylist()]
    texts, here_texts = ([render_conversation(s) for s in group] for group in (seen, samples))
    return {
        "source_mean": source_mean(sources, truth, here),
        "source_style_mean": source_style_mean(sources, main_styles, truth, here, styles),
        "ngram_ridge": ngram_ridge(texts, truth, here_texts),
    }


def transfer_report(here: Mapping[str, Any], in_domain: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Two scorer reports side by side: {measure: {"here", "in_domain", "kept"}}.

    `kept` is given for the concordance: what it has above chance (1/2) here, over what it has at home.
    """
    found: dict[str, dict[str, Any]] = {}
    for name in sorted(here.keys() & in_domain.keys()):
        a, b = here[name], in_domain[name]
        if not all(isinstance(v, (int, float)) and not isinstance(v, bool) for v in (a, b)):
            continue
        found[name] = {"here": a, "in_domain": b}
        if name == "concordance" and b > 0.5:
            found[name]["kept"] = round((a - 0.5) / (b - 0.5), 4)
    return found
