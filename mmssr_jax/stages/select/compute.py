"""Computes one selection from the tables of a workdir."""

from __future__ import annotations

from mmssr_jax.selection.method import SelectionRun
from mmssr_jax.selection.run_selection import run_selection
from mmssr_jax.selection.screening.exclusions import Screening
from mmssr_jax.stages.select.inputs import SelectionInputs
from mmssr_jax.stages.select.plan import SelectionJob


def compute(inputs: SelectionInputs, screening: Screening, job: SelectionJob) -> SelectionRun:
    """The selection of a job.

    Args:
      inputs: the pool and its tables.
      screening: what screening excludes from the job's table.
      job: the selection and its budget.

    Raises:
      UserError: the tables or settings do not allow the selection.
    """
    table = inputs.table(job.config)
    return run_selection(
        table,
        job.config,
        job.budget,
        pool_size=inputs.pool_size(table),
        degenerate=inputs.degenerate(),
        further=screening.excluded,
        reference=inputs.reference(job, table),
    )
