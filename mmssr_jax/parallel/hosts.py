"""Multi-process execution: joining the group of processes, and exchanging numbers and batches between them."""

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
_HEARTBEAT_TIMEOUT_S = 300  # jax's 100 s end a whole group when one host was only paused (live migration, suspension)
_END_TIMEOUT_S = 30  # all end together, or one has failed: it waits for the others, and they for what it will not send
_TIMEOUTS: dict[str, Any] = {
    "initialization_timeout": _START_TIMEOUT_S,
    "heartbeat_timeout_seconds": _HEARTBEAT_TIMEOUT_S,
    "shutdown_timeout_seconds": _END_TIMEOUT_S,
}
_LEAST_MESSAGE = 4096


def start() -> None:
    """Joins the group of processes, if this process belongs to one. Must be called before any device is used.

    JAX_COORDINATOR_ADDRESS, JAX_NUM_PROCESSES and JAX_PROCESS_ID (all three) describe a group explicitly; in a SLURM
    step of several tasks that srun started, or on a TPU pod, jax detects the group itself. Otherwise this is a single
    process. If the others do not join within five minutes, jax ends the process. A process that is not heard of for
    five minutes counts as dead, and jax ends all others; one whose connection breaks is noticed at the next exchange,
    and one that ends with an error breaks it within half a minute.

    Raises:
      UserError: only some of the three variables are set, or one that should be a number is not.
    """
    given = [v for v in _VARIABLES if v in os.environ]
    if len(given) == len(_VARIABLES):
        address, count, index = os.environ[_VARIABLES[0]], _number(_VARIABLES[1]), _number(_VARIABLES[2])
        logging.info("waiting for the group of %d processes at %s", count, address)
        jax.distributed.initialize(address, count, index, **_TIMEOUTS)
    elif given:
        missing = [v for v in _VARIABLES if v not in os.environ]
        raise UserError(f"{', '.join(given)} set, but not {', '.join(missing)}: set all three, or none")
    elif _in_slurm_group() or "," in os.environ.get("TPU_WORKER_HOSTNAMES", ""):
        logging.info("waiting for the other processes of this job, at most %d s", _START_TIMEOUT_S)
        jax.distributed.initialize(**_TIMEOUTS)
    # The first exchange opens the connections. XLA's CPU collectives (gloo) wait only 30 s for the others to come to
    # it, and the first stage may keep them waiting for longer.
    wait("started")


def _in_slurm_group() -> bool:
    """Whether srun started this process as one of several; a batch script or an allocation alone is not a step."""
    tasks = "SLURM_STEP_NUM_TASKS" if "SLURM_STEP_NUM_TASKS" in os.environ else "SLURM_NTASKS"
    return tasks in os.environ and _number(tasks) > 1 and all(v in os.environ for v in _SLURM_STEP)


def _number(variable: str) -> int:
    try:
        return int(os.environ[variable])
    except ValueError:
        raise UserError(f"{variable}={os.environ[variable]}: expected a number") from None


def index() -> int:
    """The index of this process, from 0."""
    return jax.process_index()


def count() -> int:
    """The number of processes."""
    return jax.process_count()


def is_main() -> bool:
    """Whether this is the main process, which writes the files that are written once."""
    return index() == 0


def wait(name: str) -> None:
    """A barrier: returns when every process has called it with the same name."""
    if count() > 1:
        multihost_utils.sync_global_devices(name)


def process_sum(values: Any) -> Any:
    """The sum over processes of a tree of numpy arrays `[...]`; meant for sums and counts, not for means."""
    if count() == 1:
        return jax.tree.map(np.asarray, values)
    return jax.tree.map(lambda x: np.asarray(x).sum(0), multihost_utils.process_allgather(values))


def broadcast_from_main(values: np.ndarray) -> np.ndarray:
    """The main process's array `[...]` in every process."""
    return values if count() == 1 else np.asarray(multihost_utils.broadcast_one_to_all(values))


def broadcast_bytes(data: bytes) -> bytes:
    """The main process's bytes in every process; what the others pass is ignored."""
    length = int(broadcast_from_main(np.array(len(data), np.int32)))
    # A power of two: each size is compiled for once.
    buffer = np.zeros(max(1 << (length - 1).bit_length(), _LEAST_MESSAGE), np.uint8)
    if is_main():
        buffer[:length] = np.frombuffer(data, np.uint8)
    return broadcast_from_main(buffer)[:length].tobytes()


def to_host(array: jax.Array) -> np.ndarray:
    """The whole array `[...]`, in every process."""
    if array.is_fully_addressable or array.is_fully_replicated:
        return np.asarray(array)
    return np.asarray(multihost_utils.process_allgather(array, tiled=True))


def to_global(batch: Any, mesh: Mesh) -> Any:
    """Global arrays, sharded over the mesh, from each process's rows of a batch.

    Args:
      batch: this process's rows: a tree of numpy arrays [B / processes, ...].
      mesh: the devices of all processes.

    Returns:
      a tree of arrays [B, ...].
    """
    sharding = batch_sharding(mesh)
    return jax.tree.map(lambda x: jax.make_array_from_process_local_data(sharding, x), batch)


def shard_pytree(tree: Any, layout: Any) -> Any:
    """Places the arrays `[...]` of a tree by `layout`, a tree of shardings.

    Where a sharding spans processes, each process fills its devices: an array that is not global yet must be complete,
    and the same, in every process.
    """

    def place(x: Any, sharding: Any) -> jax.Array:
        if sharding.is_fully_addressable or (isinstance(x, jax.Array) and not x.is_fully_addressable):
            return jax.device_put(x, sharding)
        array = np.asarray(x)
        return jax.make_array_from_callback(array.shape, sharding, lambda index: array[index])

    return jax.tree.map(place, tree, layout)


def shard_batch(batch: Any, mesh: Mesh) -> Any:
    """Shards a batch, which every process holds completely, by rows.

    Args:
      batch: a tree of numpy arrays [B, ...].
      mesh: the devices.

    Returns:
      a tree of arrays [B, ...].

    Raises:
      UserError: the mesh spans processes whose batches differ, because one of them read other data (for example an
        image that only it can read); results would be assigned to the wrong rows.
    """
    sharding = batch_sharding(mesh)
    sharded = shard_pytree(batch, jax.tree.map(lambda _: sharding, batch))
    if mesh.is_multi_process:
        digest = 0
        for leaf in jax.tree.leaves(batch):
            digest = zlib.crc32(np.ascontiguousarray(leaf).data, digest)
        digests = multihost_utils.process_allgather(np.uint32(digest))
        if np.unique(digests).size > 1:
            raise UserError(
                "the processes that share a model read different samples; make sure that all have the same files, and "
                "run the same command again"
            )
    return sharded
