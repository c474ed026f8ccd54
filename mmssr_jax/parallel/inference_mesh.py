"""The mesh for inference: one copy of the model per process, or one copy over all processes."""

from __future__ import annotations

import dataclasses
import math

import jax
from jax.sharding import Mesh

from mmssr_jax.core.stage import StageContext
from mmssr_jax.parallel import hosts
from mmssr_jax.parallel.mesh import MeshConfig, make_mesh


def mesh_config(ctx: StageContext) -> MeshConfig:
    """The config's mesh; by default the batch is sharded over all devices."""
    return ctx.section("mesh", MeshConfig) if "mesh" in ctx.config else MeshConfig()


def spans_processes(config: MeshConfig) -> bool:
    """Whether one copy of the model needs more devices than a process has.

    Then all processes run every batch together and the main process writes; otherwise each process has a copy and runs
    its batches independently.
    """
    split = (config.fsdp, config.tensor, config.expert)
    return hosts.count() > 1 and (-1 in split or jax.local_device_count() % math.prod(split) != 0)


def inference_mesh(config: MeshConfig) -> Mesh:
    """The devices of this process, or of all processes if the model `spans_processes`.

    Raises:
      UserError: the sizes do not fit the devices.
    """
    if hosts.count() == 1 or spans_processes(config):
        return make_mesh(config)
    return make_mesh(dataclasses.replace(config, data=-1), devices=jax.local_devices())
