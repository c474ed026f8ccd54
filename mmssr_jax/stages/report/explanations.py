"""Why each explored sample was or was not selected: the sentences of `select --config.select.explain`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from absl import logging

from mmssr_jax.core.errors import UserError
from mmssr_jax.core.progress import Progress
from mmssr_jax.core.stage import StageContext
from mmssr_jax.pool.pool import Pool
from mmssr_jax.selection.explain import explain
from mmssr_jax.stages.select.compute import compute
from mmssr_jax.stages.select.inputs import SelectionInputs
from mmssr_jax.stages.select.plan import SelectConfig, SelectionJob, plan
from mmssr_jax.stages.select.screener import Screener

_MAX_POOL = 200_000  # of a larger pool the selections are not computed again for the sake of a page


def explanations(ctx: StageContext, pool: Pool, ids: Sequence[str], names: Sequence[str]) -> dict[str, list[str]]:
    """Selection -> one sentence for each of the N ids.

    The selections are computed again; one that cannot be, is left out
    with a warning.

    Args:
      ctx: the run of the program.
      pool: the ingested pool.
      ids: the samples.
      names: the folders of the selections to explain.
    """
    if "select" not in ctx.config or len(pool) > _MAX_POOL:
        return {}
    config = ctx.section("select", SelectConfig)
    jobs = [job for job in plan(config) if job.folder in names]
    inputs = SelectionInputs(ctx, pool, Path(config.scores) if config.scores else ctx.workdir.scores)
    screener = Screener(ctx, pool)
    reasons = {}
    for job in Progress("report: reasons of selections", len(jobs)).over(jobs):
        try:
            reasons[job.folder] = _sentences(inputs, screener, job, ids)
        except UserError as e:
            logging.warning("report: the reasons of %s are left out: %s", job.folder, e)
    return reasons


def _sentences(inputs: SelectionInputs, screener: Screener, job: SelectionJob, ids: Sequence[str]) -> list[str]:
    run = compute(inputs, screener.screen(inputs.table(job.config), job.config), job)
    known = set(run.table.ids.to_pylist())
    return [explain(run, id, counterfactual=False).reason if id in known else "it has no scores" for id in ids]
