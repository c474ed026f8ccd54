"""Several processes: how they find each other, and how numbers and batches cross between them."""

from __future__ import annotations

import os
import zlib
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import Mesh

from mmssr_jax.core.errors import UserError
from mmssr_jax.parallel.mesh import batch_sharding

_VARIABLES = ("JAX_COORDINATOR_ADDRESS", "JAX_NUM_PROCESSES", "JAX_PROCESS_ID")


def start() -> None:
    """Joins the other processes, if this is one of several. Call before any use of a device.

    JAX_COORDINATOR_ADDRESS, JAX_NUM_PROCESSES and JAX_PROCESS_ID (all three) describe a group by hand; under SLURM
    with more than one task, or on a TPU pod, jax finds the group itself. Otherwise nothing is done.

    Raises:
      UserError: only some of the three variables are set.
    """
    given = [v for v in _VARIABLES if v in os.environ]
    if len(given) == len(_VARIABLES):
        address, count, index = (os.environ[v] for v in _VARIABLES)
        jax.distributed.initialize(address, int(count), int(index))
    elif given:
        missing = [v for v in _VARIABLES if v not in os.environ]
        raise UserError(f"{', '.join(given)} set, but not {', '.join(missing)}: set all three, or none")
    elif int(os.environ.get("SLURM_NTASKS", "1")) > 1 or "," in os.environ.get("TPU_WORKER_HOSTNAMES", ""):
        jax.distributed.initialize()


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
