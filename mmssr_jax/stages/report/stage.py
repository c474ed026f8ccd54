"""Stage `report`: one HTML page about everything in the workdir.

report/index.html is derived from the other files, so it is rewritten whenever one of them has changed; --overwrite is
not needed.
"""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
from absl import logging

from mmssr_jax.core import files
from mmssr_jax.core.artifact import MANIFEST, input_digest
from mmssr_jax.core.errors import UserError
from mmssr_jax.core.progress import Progress
from mmssr_jax.core.sample import Sample
from mmssr_jax.core.stage import StageContext
from mmssr_jax.core.workdir import Workdir
from mmssr_jax.pool.pool import Pool, open_pool
from mmssr_jax.report.explorer.entries import explored_rows, explorer_data, sampling_rule
from mmssr_jax.report.explorer.section import Explorer
from mmssr_jax.report.inputs import Inputs, ReportConfig, read_inputs, selection_paths
from mmssr_jax.report.render import render
from mmssr_jax.report.sections import gallery, judge_ratings
from mmssr_jax.report.sections.selection import headline_selection
from mmssr_jax.report.sections.training import metric_files
from mmssr_jax.stages.report.explanations import explanations

STAGE = "report"
PAGE = "index.html"


def run(ctx: StageContext) -> None:
    """Writes the page, unless it is up to date."""
    config = ctx.section(STAGE, ReportConfig) if STAGE in ctx.config else ReportConfig()
    paths = input_files(ctx.workdir)
    if ctx.dry_run:
        logging.info("report: would show %s", ", ".join(paths) or "an empty workdir")
        return
    inputs = {name: input_digest(path) for name, path in paths.items()}
    artifact = ctx.claim(ctx.workdir.report, stage=STAGE, settings=config, inputs=inputs, derived=True)
    if artifact.done:
        return
    artefacts = read_inputs(ctx.workdir, run_name(ctx))
    explorer = _explorer(ctx, artefacts, config)
    page = render(artefacts, config, _samples(ctx.workdir, artefacts, config), explorer)
    page = page.encode("utf-8", errors="backslashreplace").decode("utf-8")  # ids of rejects may hold lone surrogates
    files.write_text(artifact.path / PAGE, page)
    artifact.seal({"shown": len(paths), "kib": len(page.encode("utf-8")) // 1024})
    logging.info("report: open %s in a browser", artifact.path / PAGE)


def _explorer(ctx: StageContext, inputs: Inputs, config: ReportConfig) -> Explorer | None:
    """The pool explorer; None without a pool, or if the config leaves it out."""
    if inputs.index is None or not config.explorer_samples or not (ctx.workdir.pool / MANIFEST).exists():
        return None
    rows = explored_rows(inputs, config)
    pool = open_pool(ctx.workdir.pool)
    ids = inputs.index["id"].take(pa.array(rows)).to_pylist()
    reasons = explanations(ctx, pool, ids, _explained(inputs, config))
    samples = (_sample(pool, int(row)) for row in Progress("report: explorer", len(rows)).over(rows))
    return Explorer(explorer_data(inputs, config, rows, samples, reasons), sampling_rule(inputs, len(rows)))


def _explained(inputs: Inputs, config: ReportConfig) -> list[str]:
    """The selections whose reasons the explorer states: the featured one, then the others by name."""
    if not inputs.selections:
        return []
    names = [headline_selection(inputs)[0], *inputs.selections]
    return list(dict.fromkeys(names))[: config.explorer_selections]


def _sample(pool: Pool, row: int) -> Sample | None:
    """A sample of the pool; None, with a warning, if it can no longer be read."""
    try:
        return pool[row]
    except UserError as e:
        logging.warning("report: %s", e)
        return None


def run_name(ctx: StageContext) -> str:
    """The page's title: the config's name, else the name of the workdir's folder."""
    return str(ctx.config.get("name") or ctx.workdir.root.resolve().name)


def input_files(workdir: Workdir) -> dict[str, Path]:
    """The existing inputs of the page by relative path: files and sealed folders.

    metrics/stages.jsonl and the judge's ledger are not among them: a change of times alone does not change the page.
    """
    root = workdir.root
    paths = [workdir.config, workdir.truth]
    paths += [p for p in (workdir.pool, workdir.scores) if (p / MANIFEST).exists()]
    if workdir.scores not in paths:
        paths += sorted(workdir.scores.glob("part-*.parquet"))
    paths += selection_paths(workdir)
    paths += sorted(workdir.all_results.glob("*.json"))
    paths += metric_files(root)
    return {str(p.relative_to(root)): p for p in paths if p.exists()}


def _samples(workdir: Workdir, inputs: Inputs, config: ReportConfig) -> dict[str, Sample]:
    """The samples on the page, by id; logs a warning for each one that the pool does not have."""
    wanted = list(dict.fromkeys([*(s.id for s in gallery.choose(inputs, config)), *judge_ratings.disputed(inputs)]))
    if not wanted or not (workdir.pool / MANIFEST).exists():
        return {}
    pool = open_pool(workdir.pool)
    samples = {}
    for sample_id in Progress("report: images", len(wanted)).over(wanted):
        try:
            samples[sample_id] = pool[pool.position(sample_id)]
        except UserError as e:
            logging.warning("report: %s", e)
    return samples
