"""Stage `score`: scores the whole pool, then measures the scorer outside its training set.

Several processes can share the work: one group under `jax.distributed`, or any number started with the same command.
Each takes shards that no other process holds, including those of a process that died. If `config.mesh` spans a group's
processes, they compute every shard together and the main one writes; if one dies all end, and running the same command
again resumes.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from absl import logging
from jax.sharding import Mesh

from mmssr_jax.core import files, tables
from mmssr_jax.core.artifact import MANIFEST, Artifact, input_digest
from mmssr_jax.core.config import to_plain
from mmssr_jax.core.model_folder import model_digest, model_folder
from mmssr_jax.core.saved import read_saved
from mmssr_jax.core.shards import ShardedJob
from mmssr_jax.core.stage import StageContext
from mmssr_jax.data.subset import Subset
from mmssr_jax.parallel import hosts
from mmssr_jax.parallel.inference_mesh import inference_mesh, mesh_config, spans_processes
from mmssr_jax.parallel.mesh import check_rows
from mmssr_jax.parallel.processes import Group
from mmssr_jax.pool.pool import Pool, open_pool
from mmssr_jax.scoring.ensemble import ScorerEnsemble
from mmssr_jax.scoring.feature_kind import FeatureConfig
from mmssr_jax.scoring.precision import Precision, load_with_precision, precision_deviation
from mmssr_jax.scoring.score_pool import is_done, read_shard_statistics, score_pool, score_readable
from mmssr_jax.scoring.scorer import Buckets, Scorer
from mmssr_jax.stages.score.calibrate import Calibrated, calibrate, calibration_inputs, write_calibrated
from mmssr_jax.stages.score.feature_sizes import log_sizes
from mmssr_jax.stages.score.feature_tables import write_all
from mmssr_jax.stages.score.official_answers import read_answers, write_answers
from mmssr_jax.stages.score.scorer_quality import QualityConfig, measure, transfer_report
from mmssr_jax.stages.score.surprise import write_surprise
from mmssr_jax.stages.train_scorer import Questions, ScorerConfig, judgments_path


@dataclasses.dataclass(frozen=True)
class ScoreConfig:
    """Section `config.score`.

    Attributes:
      model: a run of this workdir, or a folder.
      shards: parts of the score table; an interrupted process loses at most one.
      buckets: shapes to compile for.
      max_pixels: images with more pixels are rejected.
      threads: threads that decode images and tokenise ahead of the model.
      details: also write `features/digits/part-*.parquet`: the most likely digit and the digits' probability mass.
      nll_blind: also read the conversations without their images, for the column `nll_blind`: a text pass more.
      calibration: calibrated scores beside the expected ones: "none"; "fit" on the judged samples that are not held
        out; "fit_held_out" on those that are: of the others the scorer has learned the ratings by heart, at least in
        part, so that a fit on them trusts its scores too much and the likelihood too little; or the path of the
        `calibration.json` of another score table. See `scoring.calibration`.
      surprise: also write `features/surprise/`, how unlikely a sample's answers are beyond what its words account for
        (`scoring.surprise`), which `config.select.selections.NAME.lowest` may filter by.
      official: also write `official/`, answer files of the official code, see `official_answers`.
      answers: folder of official answer files to read the scores from, instead of running a model.
      precision: compute dtype: "model" (as saved), "float32", "bfloat16", or "int8" weights.
      agreement: number of samples that are scored in float32 as well; the deviation is recorded in the manifest.
      features: features for other selectors, written in addition to the scores, see FeatureConfig.
      quality: how the scorer is measured.
    """

    model: str = "scorer"
    shards: int = 16
    buckets: Buckets = Buckets()
    max_pixels: int = 100_000_000
    threads: int = 2
    details: bool = False
    nll_blind: bool = False
    calibration: str = "none"
    surprise: bool = False
    official: bool = False
    answers: str | None = None
    precision: Precision = "model"
    agreement: int = 0
    features: FeatureConfig = FeatureConfig()
    quality: QualityConfig = QualityConfig()

    def __post_init__(self) -> None:
        if self.surprise and self.answers is not None:
            raise ValueError(
                "surprise needs the likelihood of answers, which official answer files lack; set surprise=false, and "
                "config.select.selections.NAME.lowest=none where it is used"
            )


def run(ctx: StageContext) -> None:
    """Scores the missing shards, measures the scorer if there is a truth, and writes features.

    Raises:
      UserError: another process is writing the scores that this one would overwrite; the devices do not divide the
        rows of a batch.
    """
    config = ctx.section("score", ScoreConfig)
    scorer = ctx.section("scorer", ScorerConfig)
    ctx.would("score: would score the pool with %s into %d shards", config.answers or config.model, config.shards)
    if config.features.kinds:
        ctx.would("score: would write the features %s", ", ".join(kind.name for kind in config.features.kinds))
    if config.surprise:
        ctx.would("score: would write the feature surprise")
    pool = open_pool(ctx.workdir.pool)
    if config.answers is not None:
        _take_answers(ctx, config, Path(config.answers), pool)
        return
    folders = [model_folder(ctx, name) for name in (config.model, scorer.styler) if name is not None]
    if ctx.dry_run:
        names = " and ".join(map(str, folders))
        logging.info("score: would score %d samples with %s into %d shards", len(pool), names, config.shards)
        log_sizes(ctx, config.features, pool, config.buckets)
        return
    inputs = {"pool": input_digest(ctx.workdir.pool), "model": model_digest(folders[0])}
    if scorer.styler is not None:
        inputs["styler"] = model_digest(folders[1])
    inputs |= calibration_inputs(ctx, scorer, config.calibration, [c.slug for c in scorer.chosen()])
    if judgments_path(ctx).exists():
        inputs["judgments"] = input_digest(judgments_path(ctx))
    # Settings that only affect speed may differ between the processes and runs that write one table.
    of_scores = dataclasses.replace(config, threads=0, features=FeatureConfig())
    settings = {"score": {k: v for k, v in to_plain(of_scores).items() if k != "surprise"}, "scorer": scorer}
    mesh, joint = inference_mesh(mesh_config(ctx)), spans_processes(mesh_config(ctx))
    check_rows(config.buckets.rows, mesh, field="config.score.buckets.rows")
    is_written = functools.partial(is_done, ctx.workdir.scores, shards=config.shards)
    with ShardedJob(config.shards, is_written, lock=ctx.workdir.lock("scores"), processes=Group(joint=joint)) as job:
        claim = functools.partial(
            ctx.claim, ctx.workdir.scores, stage="score", settings=settings, inputs=inputs, lock=False
        )
        artifact = job.claim(claim, overwrite="score" in ctx.overwrite)
        if not artifact.done:
            _score(ctx, config, scorer, pool, folders, mesh, artifact, job)
    if config.surprise:
        write_surprise(ctx, pool, shards=config.shards, joint=joint)
    if config.features.kinds:
        write_all(
            ctx, config.features, pool, shards=config.shards, buckets=config.buckets, max_pixels=config.max_pixels,
            mesh=mesh, joint=joint,
        )  # fmt: skip


def _score(
    ctx: StageContext, config: ScoreConfig, scorer: ScorerConfig, pool: Pool, folders: Sequence[Path], mesh: Mesh,
    artifact: Artifact, job: ShardedJob,
) -> None:  # fmt: skip
    """Scores this process's shards and seals the table."""
    make = functools.partial(make_ensemble, folders, config, scorer, mesh)
    run = _Scoring(ctx, config, scorer, pool, make(precision=config.precision), artifact, job, make)
    score_pool(
        pool, run.ensemble, ctx.workdir.scores, job=job, metrics=ctx.workdir.metrics("score"),
        extra=ctx.workdir.features("digits") if config.details or config.official else None, threads=config.threads,
    )  # fmt: skip
    job.finish((ctx.workdir.scores / MANIFEST).exists, run.finish)


def _take_answers(ctx: StageContext, config: ScoreConfig, folder: Path, pool: Pool) -> None:
    """Writes the score table from official answers, in the main process."""
    if ctx.dry_run:
        logging.info("score: would read the answers in %s for %d samples", folder, len(pool))
        return
    inputs = {"pool": input_digest(ctx.workdir.pool)} | {
        p.name: input_digest(p) for p in sorted(folder.glob("*.jsonl"))
    }
    if hosts.is_main():
        settings = {"answers": config.answers, "shards": config.shards}
        artifact = ctx.claim(ctx.workdir.scores, stage="score", settings=settings, inputs=inputs)
        if not artifact.done:
            read_answers(folder, pool, artifact, shards=config.shards)
    hosts.wait("score: answers")


def make_ensemble(
    folders: Sequence[Path], config: ScoreConfig, scorer: ScorerConfig, mesh: Mesh, *, precision: Precision
) -> ScorerEnsemble:
    """Loads the scorer, and the styler if `folders` names a second model."""
    parts: tuple[Questions, ...] = ("all",) if len(folders) == 1 else ("scores", "styles")
    scorers = []
    for folder, part in zip(folders, parts, strict=True):
        bundle = load_with_precision(folder, precision, mesh)
        scorers.append(
            Scorer(
                bundle.graphdef,
                bundle.params,
                scorer.encoder(bundle.processor(max_pixels=config.max_pixels), questions=part),
                buckets=config.buckets,
                mesh=mesh,
            )
        )
    return ScorerEnsemble(scorers[0], scorers[1] if len(scorers) > 1 else None, blind=config.nll_blind)


@dataclasses.dataclass(frozen=True)
class _Scoring:
    """The scoring of a pool, once its shards are written."""

    ctx: StageContext
    config: ScoreConfig
    scorer: ScorerConfig
    pool: Pool
    ensemble: ScorerEnsemble
    artifact: Artifact
    job: ShardedJob
    make_ensemble: Callable[..., ScorerEnsemble]

    def finish(self) -> None:
        """Measures the scorer and seals the table, once all shards are written."""
        scores, ensemble = self.ctx.workdir.scores, self.ensemble
        notes = read_shard_statistics(scores, self.config.shards)
        rejects = [r for note in notes for r in note.rejects]
        scored = sum(n.scored for n in notes)
        calibrated = self._calibrate()
        mass = np.sum([note.digit_mass for note in notes], axis=0) / max(scored, 1)
        report = measure(self.ctx, self.config.quality, self.scorer, self.pool, ensemble, mass, calibrated)
        extra: dict[str, Any] = {"agreement": self._agreement()} if self.config.agreement else {}
        if calibrated is not None:
            extra["calibration"] = calibrated.note
        if not self.job.writes:
            return
        files.write_jsonl(scores / "rejects.jsonl", rejects)
        if report is not None:
            files.write_json(self.ctx.workdir.results("scorer"), report)
            if self.config.quality.in_domain is not None:
                home = read_saved(Path(self.config.quality.in_domain), {}, stage="score")
                both = transfer_report(report, home)
                files.write_json(self.ctx.workdir.results("transfer"), both)
                logging.info("score: concordance here and in domain: %s", both.get("concordance"))
        if self.config.official:
            table, digits = tables.read_parts(scores), tables.read_parts(self.ctx.workdir.features("digits"))
            write_answers(table, digits, self.pool, self.ctx.workdir.official_answers)
        self.artifact.seal(
            {"scored": scored, "cut": sum(n.cut for n in notes), "rejected": len(rejects)},
            digit_mass={c.slug: round(float(m), 6) for c, m in zip(ensemble.capabilities, mass, strict=True)},
            **extra,
        )

    def _calibrate(self) -> Calibrated | None:
        """Fits or reads the calibration and adds its scores to the table."""
        slugs = [c.slug for c in self.ensemble.capabilities]
        calibrated = calibrate(self.ctx, self.scorer, self.config.calibration, slugs, self.pool)
        if calibrated is not None and self.job.writes:
            write_calibrated(self.ctx.workdir.scores, calibrated)
        if self.job.processes.joint:  # the others read the whole table next
            self.job.processes.wait("calibrated")
        return calibrated

    def _agreement(self) -> dict[str, float]:
        """Deviation of `config.precision` from float32 on samples spread evenly over the pool."""
        step = max(len(self.pool) // self.config.agreement, 1)
        samples = Subset(self.pool, range(0, len(self.pool), step)[: self.config.agreement])
        ensembles = (self.ensemble, self.make_ensemble(precision="float32"))
        output, reference = (score_readable(samples, e) for e in ensembles)
        report = {name: round(value, 6) for name, value in precision_deviation(output, reference).items()}
        logging.info("score: %s vs float32 on %d samples: %s", self.config.precision, len(output.styles), report)
        return report
