"""Several processes: how they find each other, and how numbers and batches cross between them."""

from __future__ import annotations

import os
import zlib
from typing import Any

import jax
import numpy as np
from absl import logging
from jax.experimental import multihost_utils
from jax.sharding import Mesh

from mmssr_jax.core.errors import UserError
from mmssr_jax.parallel.mesh import batch_sharding

_VARIABLES = ("JAX_COORDINATOR_ADDRESS", "JAX_NUM_PROCESSES", "JAX_PROCESS_ID")
_SLURM_STEP = ("SLURM_JOB_ID", "SLURM_STEP_NODELIST", "SLURM_NTASKS", "SLURM_PROCID", "SLURM_LOCALID")  # jax reads them
_START_TIMEOUT_S = 300


def start() -> None:
    """Joins the other processes, if this is one of several. Call before any use of a device.

    JAX_COORDINATOR_ADDRESS, JAX_NUM_PROCESSES and JAX_PROCESS_ID (all three) describe a group by hand; under SLURM, in
    a step of several tasks that srun started, or on a TPU pod, jax finds the group itself. Otherwise this is a single
    process. If the others do not come within five minutes, jax ends the process.

    Raises:
      UserError: only some of the three variables are set, or one that should be a number is not.
    """
    given = [v for v in _VARIABLES if v in os.environ]
    if len(given) == len(_VARIABLES):
        address, count, index = os.environ[_VARIABLES[0]], _number(_VARIABLES[1]), _number(_VARIABLES[2])
        logging.info("waiting for the group of %d processes at %s", count, address)
        jax.distributed.initialize(address, count, index, initialization_timeout=_START_TIMEOUT_S)
    elif given:
        missing = [v for v in _VARIABLES if v not in os.environ]
        raise UserError(f"{', '.join(given)} set, but not {', '.join(missing)}: set all three, or none")
    elif _in_slurm_group() or "," in os.environ.get("TPU_WORKER_HOSTNAMES", ""):
        logging.info("waiting for the other processes of this job, at most %d s", _START_TIMEOUT_S)
        jax.distributed.initialize(initialization_timeout=_START_TIMEOUT_S)


def _in_slurm_group() -> bool:
    """Whether srun started this process as one of several; a batch script or an allocation alone is one process."""
    tasks = "SLURM_STEP_NUM_TASKS" if "SLURM_STEP_NUM_TASKS" in os.environ else "SLURM_NTASKS"
    return tasks in os.environ and _number(tasks) > 1 and all(v in os.environ for v in _SLURM_STEP)


def _number(variable: str) -> int:
    try:
        return int(os.environ[variable])
    except ValueError:
        raise UserError(f"{variable}={os.environ[variable]}: expected a number") from None


def index() -> int:
    """This process, from 0."""
    return jax.process_index()


def count() -> int:
    """How many processes take part."""
    return jax.process_count()


def is_main() -> bool:
    """Whether this process writes what is written once."""
    return index() == 0


def wait(name: str) -> None:
    """Returns when every process has called it with the same name."""
    if count() > 1:
        multihost_utils.sync_global_devices(name)


def process_sum(values: Any) -> Any:
    """The sum over processes of a tree of host numbers: sums and counts, never means."""
    if count() == 1:
        return jax.tree.map(np.asarray, values)
    return jax.tree.map(lambda x: np.asarray(x).sum(0), multihost_utils.process_allgather(values))


def broadcast_from_main(values: np.ndarray) -> np.ndarray:
    """What the first process has, in every process."""
    return values if count() == 1 else np.asarray(multihost_utils.broadcast_one_to_all(values))


def masked_sum(values: np.ndarray, mask: np.ndarray) -> tuple[float, float]:
    """Sum and count over all processes of the values whose mask is true (rows of padding are masked out)."""
    kept = np.asarray(mask, bool)
    result = process_sum(np.array([np.asarray(values, np.float64)[kept].sum(), kept.sum()], np.float64))
    return float(result[0]), float(result[1])


def to_global(batch: Any, mesh: Mesh) -> Any:
    """The processes' parts of a batch (a tree of numpy arrays, batch first) as global arrays split over the mesh."""
    sharding = batch_sharding(mesh)
    return jax.tree.map(lambda x: jax.make_array_from_process_local_data(sharding, x), batch)


def shard_pytree(tree: Any, layout: Any) -> Any:
    """Arrays as `layout`, a tree of shardings, has them.

    Of devices of several processes each process fills its own: what is not laid out already must then be whole, and
    the same, in every process.
    """

    def placed(x: Any, sharding: Any) -> jax.Array:
        if sharding.is_fully_addressable or (isinstance(x, jax.Array) and not x.is_fully_addressable):
            return jax.device_put(x, sharding)
        whole = np.asarray(x)
        return jax.make_array_from_callback(whole.shape, sharding, lambda at: whole[at])

    return jax.tree.map(placed, tree, layout)


def shard_batch(batch: Any, mesh: Mesh) -> Any:
    """A batch (a tree of numpy arrays, batch first) that every process holds whole, split over the mesh by rows.

    Raises:
      UserError: the mesh spans processes, and they do not hold the same batch, because one of them read other data (a
        picture is there for one only); answers would be given to the wrong rows.
    """
    rows = batch_sharding(mesh)
    shared = shard_pytree(batch, jax.tree.map(lambda _: rows, batch))
    if mesh.is_multi_process:
        digest = 0
        for leaf in jax.tree.leaves(batch):
            digest = zlib.crc32(np.ascontiguousarray(leaf).data, digest)
        found = multihost_utils.process_allgather(np.uint32(digest))
        if np.unique(found).size > 1:
            raise UserError(
                "the processes that share a model read different samples; see that all have the same files, and run "
                "the same command again"
            )
    return shared
