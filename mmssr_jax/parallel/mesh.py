"""The device mesh, with the same four named axes on one device and on a pod.

data     data parallelism: copies of the model, each on its part of the batch
fsdp     the batch is sharded, and so are parameters and optimizer state, which are gathered layer by layer
tensor   tensor parallelism: heads, MLP width and vocabulary are sharded
expert   expert parallelism: the experts of a mixture-of-experts decoder are sharded (and the batch)
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import jax
from jax.sharding import AxisType, Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from mmssr_jax.core.errors import UserError

AXES = ("data", "fsdp", "tensor", "expert")
BATCH_AXES = ("data", "fsdp", "expert")


@dataclasses.dataclass(frozen=True)
class MeshConfig:
    """Devices along each axis; -1, at most once, takes the remaining devices.

    Attributes:
      data: copies of the model, each on its part of the batch.
      fsdp: devices that share the batch, the parameters and the optimizer state.
      tensor: devices that share heads, MLP width and vocabulary.
      expert: devices that share the experts of a mixture-of-experts decoder.
    """

    data: int = -1
    fsdp: int = 1
    tensor: int = 1
    expert: int = 1


def make_mesh(config: MeshConfig = MeshConfig(), *, devices: Sequence[jax.Device] | None = None) -> Mesh:
    """A mesh over `devices` (by default all) with axes `AXES`, whose shardings XLA propagates (Auto).

    Raises:
      UserError: the sizes do not multiply to the number of devices.
    """
    devices = jax.devices() if devices is None else list(devices)
    sizes = dataclasses.astuple(config)
    fixed = math.prod(s for s in sizes if s != -1)
    if sizes.count(-1) > 1 or any(s < 1 and s != -1 for s in sizes):
        raise UserError(f"mesh sizes must be positive, with at most one -1: {dict(zip(AXES, sizes, strict=True))}")
    sizes = tuple(len(devices) // fixed if s == -1 else s for s in sizes)
    if math.prod(sizes) != len(devices):
        raise UserError(
            f"mesh {dict(zip(AXES, dataclasses.astuple(config), strict=True))} does not fit {len(devices)} devices"
        )
    return jax.make_mesh(sizes, AXES, axis_types=(AxisType.Auto,) * len(AXES), devices=devices)


def batch_sharding(mesh: Mesh) -> NamedSharding:
    """The sharding of arrays whose first axis is the batch: over `BATCH_AXES`."""
    return NamedSharding(mesh, P(BATCH_AXES))


def replicated(mesh: Mesh) -> NamedSharding:
    """The complete array on every device."""
    return NamedSharding(mesh, P())


def batch_devices(mesh: Mesh) -> int:
    """The number of shards of `batch_sharding`; the batch size must be a multiple."""
    return math.prod(mesh.shape[a] for a in BATCH_AXES)


def check_rows(rows: int, mesh: Mesh, *, field: str, accumulate: int = 1) -> None:
    """Checks that a batch can be sharded over the devices.

    Args:
      rows: of the batch.
      mesh: the devices.
      field: the config field that sets the rows, for the message.
      accumulate: the parts that a batch is computed in, one after the other.

    Raises:
      UserError: it cannot.
    """
    devices = batch_devices(mesh)
    unit = devices * accumulate
    if rows % unit:
        parts = f" in {accumulate} parts (accumulate)" if accumulate > 1 else ""
        raise UserError(
            f"{field}: {rows} rows cannot be sharded over {devices} devices (data x fsdp x expert of config.mesh)"
            f"{parts}; use a multiple of {unit}, such as --{field}={-(-rows // unit) * unit}, or set config.mesh "
            "so that fewer devices share a batch"
        )
