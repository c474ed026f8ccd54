"""Stage `score`: the whole pool through the scorer, then how good the scorer is on what it never saw."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pyarrow as pa
from absl import logging

from mmssr_jax.core import files, tables
from mmssr_jax.core.artifact import input_digest
from mmssr_jax.core.stage import StageContext
from mmssr_jax.parallel import hosts
from mmssr_jax.parallel.mesh import make_mesh
from mmssr_jax.pool.pool import Pool, open_pool
from mmssr_jax.scoring.baselines import ngram_ridge, source_mean, source_style_mean
from mmssr_jax.scoring.instructions import render_conversation
from mmssr_jax.scoring.probe import blanked, counterfactual, rate_samples
from mmssr_jax.scoring.quality import scorer_report
from mmssr_jax.scoring.rater import Buckets, Rater
from mmssr_jax.scoring.run import read_notes, score_pool
from mmssr_jax.scoring.supervision import held_out
from mmssr_jax.stages.models import model_digest, model_folder
from mmssr_jax.stages.phases import mesh_config
from mmssr_jax.stages.train_scorer import ScorerConfig, judgments_path
from mmssr_jax.training.bundle import load_bundle


@dataclasses.dataclass(frozen=True)
class QualityConfig:
    """How the scorer is measured.

    Attributes:
      samples: at most so many rows are used (drawn with `seed`); the blind twin has to score them once more.
      pairs: counterfactual pairs.
      seed: of the draws.
    """

    samples: int = 1000
    pairs: int = 300
    seed: int = 0


@dataclasses.dataclass(frozen=True)
class ScoreConfig:
    """Section `config.score`.

    Attributes:
      model: a run of this workdir, or a folder.
      shards: parts of the score table; at most one of them is lost when the run is cut off.
      buckets: shapes that are compiled.
      max_pixels: pictures with more pixels are rejected.
      quality: see QualityConfig.
    """

    model: str = "scorer"
    shards: int = 16
    buckets: Buckets = Buckets()
    max_pixels: int = 100_000_000
    quality: QualityConfig = QualityConfig()


@dataclasses.dataclass(frozen=True)
class Truth:
    """What scores are compared with.

    Attributes:
      kind: "procedural" (known by construction) or "judge" (held-out judgments).
      table: id, one column a capability, styles.
    """

    kind: Any
    table: pa.Table


def run(ctx: StageContext) -> None:
    """Scores what is missing, then writes `results/scorer.json` where there is something to compare with."""
    config = ctx.section("score", ScoreConfig)
    scorer = ctx.section("scorer", ScorerConfig)
    pool = open_pool(ctx.workdir.pool)
    folder = model_folder(ctx, config.model)
    if ctx.dry_run:
        logging.info("score: would score %d samples with %s into %d shards", len(pool), folder, config.shards)
        return
    inputs = {"pool": input_digest(ctx.workdir.pool), "model": model_digest(folder)}
    if judgments_path(ctx).exists():
        inputs["judgments"] = input_digest(judgments_path(ctx))
    artifact = ctx.claim(ctx.workdir.scores, stage="score", settings={"score": config, "scorer": scorer}, inputs=inputs)
    if artifact.done:
        return
    bundle = load_bundle(folder)
    rater = Rater(
        bundle.graphdef,
        bundle.params,
        scorer.encoder(bundle),
        image_size=bundle.config.vision.image_size,
        views=bundle.config.views,
        buckets=config.buckets,
        mesh=make_mesh(mesh_config(ctx)),
    )
    score_pool(pool, rater, ctx.workdir.scores, shards=config.shards, max_pixels=config.max_pixels)
    hosts.wait("scores")
    notes = read_notes(ctx.workdir.scores, config.shards)
    rejects = [r for note in notes for r in note.rejects]
    files.write_jsonl(ctx.workdir.scores / "rejects.jsonl", rejects)
    mass = np.sum([note.digit_mass for note in notes], axis=0) / max(sum(n.scored for n in notes), 1)
    report = measure(ctx, config, scorer, pool, rater, mass)
    if report is not None:
        files.write_json(ctx.workdir.results("scorer"), report)
    artifact.seal(
        {"scored": sum(n.scored for n in notes), "cut": sum(n.cut for n in notes), "rejected": len(rejects)},
        digit_mass={c.slug: round(float(m), 6) for c, m in zip(rater.encoder.capabilities, mass, strict=True)},
    )


def find_truth(ctx: StageContext, scorer: ScorerConfig) -> Truth | None:
    """The truth of the procedural pool for samples that no judge saw, else the held-out judgments; None without."""
    judged = files.read_parquet(judgments_path(ctx)) if judgments_path(ctx).exists() else None
    procedural = ctx.workdir.root / "procedural" / "truth.parquet"
    if procedural.exists():
        table = files.read_parquet(procedural)
        seen = set(judged["id"].to_pylist()) if judged is not None else set()
        return Truth("procedural", table.filter(pa.array([i not in seen for i in table["id"].to_pylist()])))
    if judged is None or scorer.holdout == 0:
        return None
    out = held_out(judged["id"].to_pylist(), share=scorer.holdout, seed=scorer.holdout_seed)
    return Truth("judge", judged.filter(pa.array(out)))


def measure(
    ctx: StageContext, config: ScoreConfig, scorer: ScorerConfig, pool: Pool, rater: Rater, mass: np.ndarray
) -> dict[str, Any] | None:
    """The content of `results/scorer.json` (see `quality.scorer_report`), or None without a truth."""
    truth = find_truth(ctx, scorer)
    if truth is None:
        logging.info("score: no truth and no held-out judgments, so results/scorer.json is not written")
        return None
    slugs = [c.slug for c in rater.encoder.capabilities]
    scores = tables.read_parts(ctx.workdir.scores)
    row_of = {i: n for n, i in enumerate(scores["id"].to_pylist())}
    known = truth.table.filter(pa.array([i in row_of for i in truth.table["id"].to_pylist()]))
    rng = np.random.default_rng(config.quality.seed)
    drawn = np.sort(rng.permutation(known.num_rows)[: config.quality.samples])
    known = known.take(pa.array(drawn))
    if known.num_rows == 0:
        logging.info("score: no sample is left to measure on, so results/scorer.json is not written")
        return None
    rows = scores.take(pa.array([row_of[i] for i in known["id"].to_pylist()]))
    samples = [pool[pool.position(i)] for i in known["id"].to_pylist()]
    true_scores = tables.matrix(known, slugs)
    logging.info("score: measuring on %d samples that were not trained on", len(samples))
    blind = rate_samples([blanked(s) for s in samples], rater, max_pixels=config.max_pixels)
    seeing = np.array([c.seeing for c in rater.encoder.capabilities])
    # Pairs are asked where there is something to see: the sample trains a seeing capability in earnest.
    asked = (true_scores >= 3) & seeing
    visual = [n for n, s in enumerate(samples) if s.images and asked[n].any()][: config.quality.pairs]
    pairs = counterfactual(
        [samples[n] for n in visual],
        asked[visual],
        rater,
        seed=config.quality.seed,
        max_pixels=config.max_pixels,
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
        seed=config.quality.seed,
    )


def _baselines(ctx: StageContext, scorer: ScorerConfig, pool: Pool, slugs, samples, styles) -> dict[str, np.ndarray]:
    """The trivial predictors, fitted on the judged samples that the scorer was trained on."""
    if not judgments_path(ctx).exists():
        return {}
    judged = files.read_parquet(judgments_path(ctx))
    ids = judged["id"].to_pylist()
    out = held_out(ids, share=scorer.holdout, seed=scorer.holdout_seed)
    judged = judged.filter(pa.array(~out))
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
