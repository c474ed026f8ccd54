"""Mesh sizes, and the sharding of parameters."""

from __future__ import annotations

import os

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import PartitionSpec as P

from mmssr_jax.core.errors import UserError
from mmssr_jax.parallel import hosts, paths
from mmssr_jax.parallel.mesh import MeshConfig, batch_devices, batch_sharding, make_mesh
from mmssr_jax.parallel.rules import shardings, spec_for


def test_minus_one_takes_the_remaining_devices():
    mesh = make_mesh(MeshConfig(data=-1, fsdp=2, tensor=2))
    assert dict(mesh.shape) == {"data": len(jax.devices()) // 4, "fsdp": 2, "tensor": 2, "expert": 1}
    assert batch_devices(mesh) == len(jax.devices()) // 2


def test_one_device_is_a_mesh():
    assert make_mesh(devices=jax.devices()[:1]).size == 1


@pytest.mark.parametrize("config", [MeshConfig(data=3), MeshConfig(data=-1, fsdp=-1), MeshConfig(data=0)])
def test_a_mesh_that_does_not_fit_is_an_error(config):
    with pytest.raises(UserError, match="mesh"):
        make_mesh(config)


@pytest.mark.parametrize(
    ("name", "shape", "spec"),
    [
        ("decoder.embedding", (64, 8), P(("tensor", "fsdp"), None)),
        ("decoder.embedding", (62, 8), P("tensor", "fsdp")),  # 4 does not divide 62
        ("decoder.embedding", (63, 8), P(None, "fsdp")),
        ("nu.decoder.head.kernel", (8, 64), P(None, ("tensor", "fsdp"))),
        ("decoder.layers.attn.q.kernel", (4, 8, 16), P(None, "fsdp", "tensor")),
        ("opt.0.mu.decoder.layers.attn.o.kernel", (4, 16, 8), P(None, "tensor", "fsdp")),
        ("decoder.layers.attn.q.bias", (4, 16), P(None, "tensor")),
        ("decoder.layers.attn.q.kernel", (4, 8, 15), P(None, "fsdp", None)),  # 2 does not divide 15
        ("v_row.decoder.layers.mlp.up.kernel", (4,), P()),  # an optimizer moment of lower rank
        ("decoder.norm.scale", (8,), P()),
        ("decoder.layers.attn.q.kernel.levels", (4, 8, 16), P(None, "fsdp", "tensor")),  # int8 weights
        ("decoder.layers.attn.q.kernel.scale", (4, 1, 16), P(None, None, "tensor")),
    ],
)
def test_rules(name, shape, spec):
    assert spec_for(name, shape, make_mesh(MeshConfig(fsdp=2, tensor=2))) == spec


def test_shardings_follow_names():
    mesh = make_mesh(MeshConfig(fsdp=2, tensor=2))
    tree = {"decoder": {"embedding": jnp.zeros((8, 4)), "norm": {"scale": jnp.zeros(4)}}}
    placed = jax.device_put(tree, shardings(tree, mesh))
    assert placed["decoder"]["embedding"].sharding.shard_shape((8, 4)) == (2, 4)
    assert placed["decoder"]["norm"]["scale"].sharding.is_fully_replicated


def test_dotted_names_round_trip():
    tree = {"b": {"y": 1, "x": {"z": 2}}, "a": 3}
    flat = paths.flatten(tree)
    assert flat == {"a": 3, "b.x.z": 2, "b.y": 1}
    assert paths.unflatten(flat) == tree


def test_to_global_splits_the_batch():
    mesh = make_mesh()
    x = hosts.to_global({"tokens": np.arange(16).reshape(8, 2)}, mesh)["tokens"]
    assert x.sharding == batch_sharding(mesh)
    np.testing.assert_array_equal(x, np.arange(16).reshape(8, 2))


def test_incomplete_group_variables_are_an_error(monkeypatch):
    monkeypatch.setenv("JAX_COORDINATOR_ADDRESS", "localhost:1234")
    monkeypatch.delenv("JAX_NUM_PROCESSES", raising=False)
    monkeypatch.delenv("JAX_PROCESS_ID", raising=False)
    with pytest.raises(UserError, match="JAX_NUM_PROCESSES, JAX_PROCESS_ID"):
        hosts.start()


SLURM_STEP = {
    "SLURM_JOB_ID": "1", "SLURM_STEP_NODELIST": "node1", "SLURM_NTASKS": "4", "SLURM_PROCID": "0", "SLURM_LOCALID": "0",
}  # fmt: skip


@pytest.mark.parametrize(
    ("variables", "joins"),
    [
        ({}, False),
        (SLURM_STEP, True),
        ({"SLURM_JOB_ID": "1", "SLURM_NTASKS": "4"}, False),  # a batch script, before any srun
        ({**SLURM_STEP, "SLURM_NTASKS": "1"}, False),
        ({**SLURM_STEP, "SLURM_STEP_NUM_TASKS": "1"}, False),  # one process inside an allocation for four
        ({"TPU_WORKER_HOSTNAMES": "a,b"}, True),
        ({"TPU_WORKER_HOSTNAMES": "a"}, False),
    ],
)
def test_which_environments_are_a_group(monkeypatch, variables, joins):
    for name in [
        n for n in os.environ if n.startswith(("SLURM_", "TPU_WORKER", "JAX_NUM", "JAX_PROCESS", "JAX_COORD"))
    ]:
        monkeypatch.delenv(name)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    calls = []
    monkeypatch.setattr(jax.distributed, "initialize", lambda *a, **k: calls.append(a))
    hosts.start()
    assert bool(calls) == joins


def test_a_count_that_is_no_number_is_one_line(monkeypatch):
    monkeypatch.setenv("SLURM_NTASKS", "4(x2)")
    with pytest.raises(UserError, match=r"SLURM_NTASKS=4\(x2\): expected a number"):
        hosts.start()
