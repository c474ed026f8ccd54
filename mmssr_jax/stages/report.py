"""The report stage: one page of everything that this workdir holds so far.

report/index.html is a view, so it is made anew whenever anything that it shows has changed; no --overwrite is needed.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from absl import logging

from mmssr_jax.core import config as config_lib
from mmssr_jax.core import files
from mmssr_jax.core.artifact import MANIFEST, Artifact, input_digest
from mmssr_jax.core.errors import UserError
from mmssr_jax.core.progress import Progress
from mmssr_jax.core.sample import Sample
from mmssr_jax.core.stage import StageContext
from mmssr_jax.core.workdir import Workdir
from mmssr_jax.pool.pool import open_pool
from mmssr_jax.report.inputs import Inputs, ReportConfig, read_inputs, selection_paths, truth_path
from mmssr_jax.report.render import render
from mmssr_jax.report.sections import gallery, judge
from mmssr_jax.report.sections.training import metric_files

STAGE = "report"
PAGE = "index.html"


def run(ctx: StageContext) -> None:
    """Makes the page; see the module."""
    config = ctx.section(STAGE, ReportConfig) if STAGE in ctx.config else ReportConfig()
    shown = shown_files(ctx.workdir)
    if ctx.dry_run:
        logging.info("report: would show %s", ", ".join(shown) or "an empty workdir")
        return
    inputs = {name: input_digest(path) for name, path in shown.items()}
    artifact = _claim(ctx, config, inputs)
    if artifact.done:
        return
    read = read_inputs(ctx.workdir, run_name(ctx))
    page = render(read, config, _samples(ctx.workdir, read, config))
    files.write_text(artifact.path / PAGE, page)
    artifact.seal({"shown": len(shown), "kib": len(page.encode("utf-8")) // 1024})
    logging.info("report: open %s in a browser", artifact.path / PAGE)


def run_name(ctx: StageContext) -> str:
    """What the page is called: the config's name, else the workdir's folder."""
    return str(ctx.config.get("name") or ctx.workdir.root.resolve().name)


def shown_files(workdir: Workdir) -> dict[str, Path]:
    """What the page is made of, as far as it exists: files, and sealed folders by their manifest.

    metrics/stages.jsonl is left out: times alone do not make a new page.
    """
    root = workdir.root
    found = [workdir.config, truth_path(workdir)]
    found += [p for p in (workdir.pool, workdir.scores) if (p / MANIFEST).exists()]
    if workdir.scores not in found:
        found += sorted(workdir.scores.glob("part-*.parquet"))
    found += selection_paths(workdir)
    found += sorted((root / "results").glob("*.json"))
    found += metric_files(root)
    return {str(p.relative_to(root)): p for p in found if p.exists()}


def _claim(ctx: StageContext, config: ReportConfig, inputs: dict[str, str]) -> Artifact:
    """Claims the folder, dropping a page of other inputs or settings, or one that was cut off."""
    manifest = ctx.workdir.report / MANIFEST
    previous: dict[str, Any] = files.read_json(manifest) if manifest.exists() else {}
    changed = config_lib.difference(
        {"config": previous.get("config"), "inputs": previous.get("inputs")},
        {"config": config_lib.to_plain(config), "inputs": inputs},
    )
    if previous and changed:
        logging.info("report: made anew, %d things changed (%s)", len(changed), changed[0])
    stale = STAGE in ctx.overwrite or bool(changed)
    return Artifact(ctx.workdir.report, stage=STAGE, settings=config, inputs=inputs, overwrite=stale)


def _samples(workdir: Workdir, inputs: Inputs, config: ReportConfig) -> dict[str, Sample]:
    """The samples that are shown, by id; those that the pool does not hold are left out and named."""
    wanted = list(dict.fromkeys([*(s.id for s in gallery.choose(inputs, config)), *judge.disputed(inputs)]))
    if not wanted or not (workdir.pool / MANIFEST).exists():
        return {}
    pool = open_pool(workdir.pool)
    samples = {}
    for sample_id in Progress("report: pictures", len(wanted)).over(wanted):
        try:
            samples[sample_id] = pool[pool.position(sample_id)]
        except UserError as e:
            logging.warning("report: %s", e)
    return samples
