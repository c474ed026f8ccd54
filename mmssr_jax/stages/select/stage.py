"""The select stage: from scores and a budget to ordered ids with their reasons, one folder per selection.

selections/<name>/selection.parquet   in pick order: id, source, capability, group, score, round
selections/<name>/ids.txt             sorted
selections/<name>/pool.json           the unchanged records in pool order, for any other trainer
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow.compute as pc
from absl import logging

from mmssr_jax.core import files
from mmssr_jax.core.artifact import Artifact
from mmssr_jax.core.config import to_plain
from mmssr_jax.core.errors import UserError
from mmssr_jax.core.stage import StageContext
from mmssr_jax.pool.pool import open_pool
from mmssr_jax.selection import stats
from mmssr_jax.selection.compare import difference, read_selection, verify
from mmssr_jax.selection.explain import describe, explain
from mmssr_jax.selection.format import check_format
from mmssr_jax.selection.table import ScoreTable
from mmssr_jax.stages.select import outputs
from mmssr_jax.stages.select.compute import compute
from mmssr_jax.stages.select.inputs import SelectionInputs, input_digests
from mmssr_jax.stages.select.plan import SelectConfig, SelectionJob, plan
from mmssr_jax.stages.select.requirements import missing_features, requirements
from mmssr_jax.stages.select.screener import Screener
from mmssr_jax.stages.select.summary import write_summary

STAGE = "select"


def run(ctx: StageContext) -> None:
    """Makes every selection that does not exist yet; with dry_run only logs what each would contain.

    Raises:
      UserError: the scores or settings do not allow a selection (see the modules of `selection`), or an existing
        selection does not verify.
    """
    config = ctx.section(STAGE, SelectConfig)
    scores = Path(config.scores) if config.scores else ctx.workdir.scores
    if config.scores and not scores.exists():
        raise UserError(f"config.select.scores={scores}: no such score file or folder")
    jobs = plan(config)
    by_folder = {job.folder: job for job in jobs}
    for job in jobs:
        ctx.would("select: would select %s by %s, %s", job.folder, job.config.method, job.budget)
    digests = {} if ctx.dry_run else {job.folder: input_digests(ctx, job, scores, by_folder) for job in jobs}
    claims: dict[str, Artifact] = {}
    for job in [] if ctx.dry_run else jobs:
        folder = ctx.workdir.selection(job.folder)
        claims[job.folder] = ctx.claim(folder, stage=STAGE, settings=job.settings(), inputs=digests[job.folder])
    seconds: dict[str, float] = {}
    inspect = bool(config.verify or config.explain)
    jobs = [job for job in jobs if inspect or ctx.dry_run or not claims[job.folder].done]
    if jobs:
        pool = None if config.ids_only else open_pool(ctx.workdir.pool)
        inputs, screener = SelectionInputs(ctx, pool, scores), Screener(ctx, pool)
        for job in jobs:
            if ctx.dry_run and not _log_requirements(inputs, job):
                continue
            spent = _make(inputs, screener, job, claims.get(job.folder), digests.get(job.folder, {}), config)
            if spent is not None:
                seconds[job.folder] = spent
    if config.summary and not ctx.dry_run:
        write_summary(ctx, open_pool(ctx.workdir.pool), list(by_folder.values()), scores=scores, seconds=seconds)
    if config.compared and not ctx.dry_run:
        first, second = (read_selection(ctx.workdir.selection(name)) for name in config.compared)
        for line in difference(first, second).lines(*config.compared):
            logging.info("%s", line)


def _log_requirements(inputs: SelectionInputs, job: SelectionJob) -> bool:
    """Logs what a selection needs; returns whether it can be computed."""
    for line in requirements(inputs.ctx, job):
        logging.info("%s: %s", job.folder, line)
    missing = missing_features(inputs.ctx, job)
    if job.reference is not None and not inputs.has_reference(job):
        missing.append(f"the selection {job.reference}")
    if missing:
        logging.info("%s: cannot be computed yet: %s does not exist", job.folder, ", ".join(missing))
    return not missing


def _make(
    inputs: SelectionInputs,
    screener: Screener,
    job: SelectionJob,
    artifact: Artifact | None,
    digests: Mapping[str, str],
    config: SelectConfig,
) -> float | None:
    """Computes one selection, writes it if it does not exist yet, and verifies or explains it on request.

    Returns:
      The seconds that the selection took, without reading and writing; None if it existed.
    """
    screening = screener.screen(inputs.table(job.config), job.config)
    begin, made = time.perf_counter(), artifact is not None and not artifact.done
    selected = compute(inputs, screening, job)
    seconds = time.perf_counter() - begin
    picks = selected.selection.to_arrow(selected.table)
    for name in job.config.formats:
        check_format(name, picks)  # in a dry run too

    def write_files(folder: Path) -> outputs.Licences:
        samples = outputs.PoolSamples(job.folder, inputs.pool, picks, selected.candidates)
        licences = outputs.write(folder, samples, formats=job.config.formats)
        for name, report in screening.reports.items():
            files.write_parquet(folder / name, report)
        return licences

    inputs.picks[job.folder] = picks["id"].combine_chunks()
    counts = stats.counts(selected)
    if artifact is None or not artifact.done:
        _log(job, counts)
    if artifact is not None and not artifact.done:
        licences = write_files(artifact.path)
        artifact.seal(counts, licences=licences, **job.config.selector.needs.labels())
    elif artifact is not None and config.verify:
        with tempfile.TemporaryDirectory(dir=inputs.ctx.workdir.root, prefix=".verify-") as again:
            write_files(Path(again))
            problems = verify(
                artifact.path, picks, again=Path(again), counts=to_plain(counts), inputs=digests
            )  # fmt: skip
        if problems:
            raise UserError(f"{artifact.path} does not verify: {'; '.join(problems)}")
        logging.info(
            "%s: verified, the same %d picks for the same reasons and the same files", job.folder, picks.num_rows
        )
    for id in _ids_to_explain(config.explain, selected.table):
        for line in describe(explain(selected, id)):
            logging.info("%s: %s", job.folder, line)
    return seconds if made else None


def _ids_to_explain(texts: Sequence[str], table: ScoreTable) -> Iterator[str]:
    """The ids of `explain`; a flag passes several as one string with commas, which ids may contain too."""
    for text in texts:
        known = pc.index(table.ids, text).as_py() >= 0
        yield from [text] if known else text.split(",")


def _log(job: SelectionJob, counts: Mapping[str, Any]) -> None:
    """Logs what was selected and what could not be."""
    logging.info("%s: %d of %d samples selected", job.folder, counts["selected"], counts["pool"])
    if job.config.selector.needs.scores:
        logging.info("%s: by the %s scores", job.folder, "calibrated" if job.config.calibrated else "expected")
    for what in ("per_capability", "per_source"):
        if counts[what]:
            logging.info(
                "%s: %s: %s", job.folder, what.replace("_", " "), ", ".join(f"{k} {v}" for k, v in counts[what].items())
            )
    if counts["no_style"]:
        logging.info(
            "%s: %d scored samples have no style and cannot be selected by mmssr", job.folder, counts["no_style"]
        )
    for reason, number in counts["no_candidates"].items():
        logging.info("%s: %d samples are not candidates: %s", job.folder, number, reason)
    for name, value in counts.get("method", {}).items():
        logging.info("%s: %s %.4g", job.folder, name.replace("_", " "), value)
    for name, picks in counts.get("below_half_share", {}).items():
        logging.warning(
            "%s: %s has %d picks, less than half of its fair share; set its threshold lower, threshold_quantile, or "
            "calibrated=true", job.folder, name, picks,
        )  # fmt: skip
    if counts.get("short"):
        logging.warning(
            "%s: %d samples short of the budget: no further sample is eligible", job.folder, counts["short"]
        )
    if not counts["selected"]:
        logging.warning(
            "%s: nothing was selected; the budget is less than one sample, or nothing is eligible", job.folder
        )
