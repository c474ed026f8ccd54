"""Measures a scorer outside its training set: against a synthetic pool's truth, or held-out judgments."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pyarrow as pa
from absl import logging

from mmssr_jax.core import files, tables
from mmssr_jax.core.stage import StageContext
from mmssr_jax.data.subset import held_out_mask
from mmssr_jax.pool.pool import Pool
from mmssr_jax.scoring.baselines import source_mean, source_style_mean
from mmssr_jax.scoring.counterfactual import score_samples, with_altered_images, with_blank_images
from mmssr_jax.scoring.ensemble import ScorerEnsemble
from mmssr_jax.scoring.flaw_ranking import flaw_ranking
from mmssr_jax.scoring.instructions import render_conversation
from mmssr_jax.scoring.ngram_ridge import ngram_ridge
from mmssr_jax.scoring.quality import Counterfactual, scorer_report
from mmssr_jax.scoring.ranking_metrics import GOOD
from mmssr_jax.scoring.scorer import ScorerOutput
from mmssr_jax.stages.score.calibrate import Calibrated
from mmssr_jax.stages.train_scorer import ScorerConfig, judgments_path

Read = Callable[[pa.Table, ScorerOutput], np.ndarray]  # rows of the score table, and another output for them -> scores


@dataclasses.dataclass(frozen=True)
class QualityConfig:
    """Section `config.score.quality`: how the scorer is measured.

    Attributes:
      samples: maximum number of samples (sampled with `seed`); all are scored again with blank images.
      pairs: maximum number of counterfactual pairs.
      seed: seed of the sampling.
      in_domain: path of `results/scorer.json` of the run that trained the scorer; if set, `results/transfer.json`
        compares the two reports.
    """

    samples: int = 1000
    pairs: int = 300
    seed: int = 0
    in_domain: str | None = None


@dataclasses.dataclass(frozen=True)
class Truth:
    """The reference that scores are compared with.

    Attributes:
      kind: "synthetic" (known by construction) or "judge" (held-out judgments).
      table: columns id, one per capability, styles.
    """

    kind: Any
    table: pa.Table


def find_truth(ctx: StageContext, scorer: ScorerConfig) -> Truth | None:
    """The synthetic pool's truth for samples that are not judged, else the held-out judgments, else None."""
    judged = files.read_parquet(judgments_path(ctx)) if judgments_path(ctx).exists() else None
    synthetic = ctx.workdir.truth
    if synthetic.exists():
        table = files.read_parquet(synthetic)
        judged_ids = set(judged["id"].to_pylist()) if judged is not None else set()
        return Truth("synthetic", table.filter(pa.array([i not in judged_ids for i in table["id"].to_pylist()])))
    if judged is None or scorer.holdout == 0:
        return None
    mask = held_out_mask(judged["id"].to_pylist(), share=scorer.holdout, seed=scorer.holdout_seed)
    return Truth("judge", judged.filter(pa.array(mask)))


def measure(
    ctx: StageContext,
    config: QualityConfig,
    scorer: ScorerConfig,
    pool: Pool,
    ensemble: ScorerEnsemble,
    mass: np.ndarray,
    calibrated: Calibrated | None = None,
) -> dict[str, Any] | None:
    """The content of `results/scorer.json`, or None if there is no truth.

    It is `quality.scorer_report` of the expected scores, with `flaws` (`flaw_ranking`, and `blind`: of the same scorer
    with blank images) where the pool's flaws are known. With a calibration, `calibrated` is the same for the calibrated
    scores; there the expected scores are the baseline `raw`, and `blind` is calibrated too.

    Args:
      ctx: the stage's context; the score table must be complete.
      config: how to measure.
      scorer: the scorer's config, for its held-out set.
      pool: the samples.
      ensemble: the models, to score altered images.
      mass: [C], mean probability mass of the digits.
      calibrated: the calibration, if there is one.
    """
    found = _measured_rows(ctx, config, scorer)
    if found is None:
        return None
    truth, rows = found
    known, slugs = truth.table, [c.slug for c in ensemble.capabilities]
    samples = [pool[pool.position(i)] for i in known["id"].to_pylist()]
    true_scores = tables.matrix(known, slugs)
    logging.info("score: measuring on %d samples outside the training set", len(samples))
    blank = score_samples([with_blank_images(s) for s in samples], ensemble)
    # An altered image can only lower the scores of visual capabilities that the sample really trains.
    visual = (true_scores >= GOOD) & np.array([c.seeing for c in ensemble.capabilities])
    paired = np.array([n for n, s in enumerate(samples) if s.images and visual[n].any()][: config.pairs], np.int64)
    altered, kinds = with_altered_images([samples[n] for n in paired], seed=config.seed)
    original, changed = score_samples([samples[n] for n in paired], ensemble), score_samples(altered, ensemble)
    main_styles = [s[0] if s else "" for s in known["styles"].to_pylist()]
    baselines = _baselines(ctx, scorer, pool, slugs, samples, main_styles)

    def report(scores: np.ndarray, read: Read, more: Mapping[str, np.ndarray]) -> dict[str, Any]:
        blind, of_pairs = read(rows, blank), rows.take(pa.array(paired))
        pairs = Counterfactual(read(of_pairs, original), read(of_pairs, changed), kinds, visual[paired])
        result = scorer_report(
            scores, true_scores, slugs=slugs, truth_kind=truth.kind, styles=rows["styles"].to_pylist(),
            true_styles=known["styles"].to_pylist(), baselines={**baselines, **more, "blind": blind},
            counterfactual=pairs if len(paired) else None, seed=config.seed,
            digit_mass=np.broadcast_to(mass, true_scores.shape),
        )  # fmt: skip
        if {"flaw", "kind"} <= set(known.schema.names):
            flaws, forms = known["flaw"].to_pylist(), known["kind"].to_pylist()
            result["flaws"] = {**flaw_ranking(scores, flaws, forms), "blind": flaw_ranking(blind, flaws, forms)}
        return result

    raw = tables.matrix(rows, slugs)
    both = report(raw, lambda _, output: output.scores, {})
    if calibrated is not None:
        both["calibrated"] = report(calibrated.scores(rows), calibrated.scores_of_output, {"raw": raw})
    return both


def _measured_rows(ctx: StageContext, config: QualityConfig, scorer: ScorerConfig) -> tuple[Truth, pa.Table] | None:
    """The truth of the samples to measure on, and their rows of the score table; None if there is none."""
    truth = find_truth(ctx, scorer)
    if truth is None:
        logging.info("score: no truth and no held-out judgments; results/scorer.json is not written")
        return None
    scores = tables.read_parts(ctx.workdir.scores)
    row_of = {i: n for n, i in enumerate(scores["id"].to_pylist())}
    known = truth.table.filter(pa.array([i in row_of for i in truth.table["id"].to_pylist()]))
    rng = np.random.default_rng(config.seed)
    known = known.take(pa.array(np.sort(rng.permutation(known.num_rows)[: config.samples])))
    if known.num_rows == 0:
        logging.info("score: no scored sample has a truth; results/scorer.json is not written")
        return None
    return Truth(truth.kind, known), scores.take(pa.array([row_of[i] for i in known["id"].to_pylist()]))


def _baselines(ctx: StageContext, scorer: ScorerConfig, pool: Pool, slugs, samples, styles) -> dict[str, np.ndarray]:
    """The trivial predictors, fitted on the scorer's training set; empty if it was trained elsewhere."""
    if not judgments_path(ctx).exists():
        return {}
    judged = files.read_parquet(judgments_path(ctx))
    ids = judged["id"].to_pylist()
    mask = held_out_mask(ids, share=scorer.holdout, seed=scorer.holdout_seed)
    judged = judged.filter(pa.array(~mask))
    if judged.num_rows == 0:
        return {}
    train = [pool[pool.position(i)] for i in judged["id"].to_pylist()]
    train_truth = tables.matrix(judged, slugs)
    train_sources, sources = ([s.source for s in group] for group in (train, samples))
    train_styles = [s[0] if s else "" for s in judged["styles"].to_pylist()]
    train_texts, texts = ([render_conversation(s) for s in group] for group in (train, samples))
    return {
        "source_mean": source_mean(train_sources, train_truth, sources),
        "source_style_mean": source_style_mean(train_sources, train_styles, train_truth, sources, styles),
        "ngram_ridge": ngram_ridge(train_texts, train_truth, texts),
    }


def transfer_report(here: Mapping[str, Any], in_domain: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Compares two scorer reports: {measure: {"here", "in_domain", "kept"}}.

    `kept`, for the concordance only, is its margin above chance (1/2) here, divided by that in domain.
    """
    compared: dict[str, dict[str, Any]] = {}
    for name in sorted(here.keys() & in_domain.keys()):
        a, b = here[name], in_domain[name]
        if not all(isinstance(v, (int, float)) and not isinstance(v, bool) for v in (a, b)):
            continue
        compared[name] = {"here": a, "in_domain": b}
        if name == "concordance" and b > 0.5:
            compared[name]["kept"] = round((a - 0.5) / (b - 0.5), 4)
    return compared
